"""Runs every benchmark that this machine can run, then makes docs/benchmarks.md: ``make bench``.

python benchmarks/all.py [NAME ...]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
CPU = (
    "rle",
    "surface",
    "hausdorff",
    "loader",
    "warp",
    "fit_overhead",
    "several",
    "competition_size",
    "memory",
    "prediction_memory",
    "oof_store",
)
GPU = ("gpu",)


def main(names: list[str]) -> None:
    """Run them one after another; a script that fails stops it."""
    available = CPU + (GPU if torch.cuda.is_available() else ())
    for name in names or [name for name in available if (HERE / f"{name}.py").is_file()]:
        print(f"--- {name}", flush=True)
        subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True)
    subprocess.run([sys.executable, str(HERE / "page.py")], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
