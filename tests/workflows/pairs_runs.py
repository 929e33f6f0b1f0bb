"""Settings that several processes meet in other code than one process; a program of its own, started by test_pairs.py.

Each is run in one process with two pieces, and in two processes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from several_runs import start

PAIRS = {
    "workers": ["train.workers=1"],
    "device": ["input.store=device"],
    "half": ["train.precision=bf16", "input.store=resized"],
    "extra": [],
    "skip": [],
}
"""What each pair sets; ``extra`` has a recipe with two datasets, and ``skip`` one whose slice cannot be read."""


def all_pairs(folder):
    os.environ["GISEG_CACHE"] = str(folder / "cache")
    codes = {}
    for name, sets in PAIRS.items():
        recipe = folder / (f"{name}.toml" if name in ("extra", "skip") else "plain.toml")
        command = ["run", recipe, "--device", "cpu", *(word for one in sets for word in ("--set", one)), "--out"]
        one = start([*command, folder / f"{name}_one", "--set", "train.pieces=2"], 1, folder / f"log_{name}_one")
        codes[name] = one + start([*command, folder / f"{name}_two"], 2, folder / f"log_{name}_two")
    (folder / "codes").write_text(repr(codes))


if __name__ == "__main__":
    all_pairs(Path(sys.argv[1]))
