"""The batch transform ``final_device`` against kornia's nearest pipeline on a GPU; a part of ``make gpu``.

    python benchmarks/gpu_warp.py --record FILE [--rehearse]

Batches of 64 slices of 224 x 224, by turns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from device_policy import REPETITIONS, on_device
from gpu_rig import begin

BATCHES = 50


def main(arguments: Sequence[str]) -> None:
    """Measure the one row."""
    rig, _ = begin(arguments)
    count, batches = (2, 1) if rig.rehearse else (64, BATCHES)
    row = on_device("cpu" if rig.rehearse else "cuda", count, batches, target=5.0)
    rig.record.settle(batch_size=count, batches=batches, repetitions=REPETITIONS, seed=0)
    rig.record.add({"name": row.what} | asdict(row) | {"met": row.met, "verdict": row.verdict})


if __name__ == "__main__":
    main(sys.argv[1:])
