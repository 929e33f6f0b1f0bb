"""The batch transform ``final_device`` against kornia's nearest pipeline on a GPU, batches of 64 slices of 224 x 224.

    python benchmarks/gpu_warp.py

Writes benchmarks/results/gpu_warp-cuda.json.
"""

from __future__ import annotations

import sys

import torch
from harness import save
from warp import PACKAGES, REPETITIONS, on_device


def main() -> None:
    """Measure, and write the results."""
    if not torch.cuda.is_available():
        sys.exit("gpu_warp needs a CUDA device")
    save(
        "gpu_warp",
        "On a GPU, the deck's policy final composed into one displacement takes a fraction of kornia's pipeline.",
        [on_device("cuda", 64, 50, target=5.0)],
        packages=PACKAGES,
        settings={"device": "cuda", "batches": 50, "repetitions": REPETITIONS, "seed": 0},
    )


if __name__ == "__main__":
    main()
