"""Out-of-fold probabilities at the competition's size: how large, how fast, and in how much memory.

python benchmarks/oof_store.py

The probabilities are drawn as a network gives them: soft blobs with uneven borders where there is an organ, and a faint
uneven rest elsewhere. A process of its own writes and reads each set, so that its peak memory is that of the set alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from harness import by_turns, compare, save

from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter, from_bytes

if TYPE_CHECKING:
    from gisegkit.types import FloatArray

SCANS, SLICES = 274, 38_496
TENTH = 27
SIDE, CLASSES = 224, 3
POOL = 240
"""Slices that are drawn; every scan takes them from another place on, each moved by another distance."""
NOISE = {"smooth": 0.3, "rough": 1.0}
"""Standard deviation of each pixel's logit by itself; the rough one is more than trained networks show."""
REPETITIONS = 1


def drawn(noise: float) -> list[FloatArray]:
    """Slices ``[h, w, K]`` of probabilities, float32; a class is in 45 of 100 of them."""
    rng = np.random.default_rng(0)
    return [np.stack([_plane(rng, noise) for _ in range(CLASSES)], axis=-1) for _ in range(POOL)]


def _plane(rng: np.random.Generator, noise: float) -> FloatArray:
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    logits = np.full((SIDE, SIDE), -7, np.float32)
    if rng.random() < 0.45:
        for _ in range(rng.integers(1, 4)):
            (cy, cx), (a, b), turn = rng.uniform(60, 160, 2), rng.uniform(8, 30, 2), rng.uniform(0, np.pi)
            u = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / a
            v = ((y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)) / b
            logits = np.maximum(logits, (1 - np.hypot(u, v)) * rng.uniform(4, 10))
    uneven = cv2.resize(rng.normal(0, 1.2, (SIDE // 8, SIDE // 8)).astype(np.float32), (SIDE, SIDE))
    logits += uneven + rng.normal(0, noise, logits.shape).astype(np.float32)
    plane: FloatArray = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return plane


def slices(pool: list[FloatArray], scan: int) -> Iterator[tuple[str, FloatArray]]:
    """The slices of a scan and their ids."""
    depth = SLICES // SCANS + (scan < SLICES % SCANS)
    for position in range(depth):
        value = pool[(scan * 7 + position) % POOL]
        yield f"case{scan}_day0_slice_{position:04d}", np.roll(value, scan % 40, axis=0)


def measure(scans: int, noise: float) -> dict[str, float]:
    """Write and read so many scans: bytes, seconds, and how much more memory the process took in bytes."""
    pool = drawn(noise)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probabilities.npz"
        written = 0.0
        with ProbabilityWriter(file, classes="abc", exclusive=False) as writer:
            for scan in range(scans):
                own = list(slices(pool, scan))
                start = time.perf_counter()
                writer.begin(f"case{scan}_day0", depth=len(own), size=(SIDE, SIDE))
                for name, value in own:
                    writer.write(name, value)
                written += time.perf_counter() - start
        start = time.perf_counter()
        with ProbabilityReader(file) as reader:
            for name in reader.scans:
                for _, values in reader.slices(name):
                    from_bytes(values)
        read = time.perf_counter() - start
        size = file.stat().st_size
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"size": size, "written": written, "read": read, "grown": grown, "peak": whole}


def in_a_process(scans: int, noise: float) -> dict[str, float]:
    """``measure`` in a process of its own."""
    command = [sys.executable, __file__, "measure", str(scans), str(noise)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Measure and save."""
    rows = []
    for name, noise in NOISE.items():
        found: list[dict[str, float]] = []

        def whole(noise: float = noise, found: list[dict[str, float]] = found) -> float:
            found.append(in_a_process(SCANS, noise))
            return found[-1]["peak"] / 2**20

        def tenth(noise: float = noise) -> float:
            return in_a_process(TENTH, noise)["peak"] / 2**20

        sides = {"the whole set": whole, "every tenth scan": tenth}
        peaks = by_turns(sides, repetitions=REPETITIONS, warm_up=0)
        sizes = {"kept": [one["size"] / 1e9 for one in found], "asked": [2.0] * len(found)}
        written, read = (sorted(one[key] for one in found)[len(found) // 2] for key in ("written", "read"))
        note = f"written in {written:.0f} s, read in {read:.0f} s by one core; the bytes alone are 5.79 GB"
        about = f"{SLICES:,} slices x {CLASSES} classes at {SIDE} x {SIDE}, {name}"
        rows.append(
            compare(f"{about}: size", sizes, ours="kept", baseline="asked", unit="GB", higher_is_better=False,
                    target=1, cost=True, note=note)
        )  # fmt: skip
        rows.append(
            compare(f"{about}: peak memory", peaks, ours="the whole set", baseline="every tenth scan", unit="MiB",
                    higher_is_better=False, target=1.1, cost=True)
        )  # fmt: skip
    save(
        "oof_store",
        "Out-of-fold probabilities of the competition's size take less than 2 GB, and the memory of a few slices.",
        rows,
        packages=("numpy",),
        settings={"device": "cpu", "threads": 1, "scans": SCANS, "repetitions": REPETITIONS, "noise": NOISE, "seed": 0},
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(int(sys.argv[2]), float(sys.argv[3]))))
    else:
        main()
