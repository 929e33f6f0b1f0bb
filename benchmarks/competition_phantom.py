"""A phantom set of the competition's size: 274 scans, 38,496 slices, sizes in about the competition's proportions.

Every slice is drawn anew, none is a copy of another. It takes about 8 minutes of one core, and 4.3 GiB.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import cv2

from gisegkit.data.phantom.writer import Row, write_scan, write_table

SEED = 0
SMALL_CASES, SMALL_DAYS = 49, 4
LARGE_CASES, LARGE_DAYS = 26, 3
SLICES, SHORT, SHORT_SCANS = 144, 80, 15


class Scan(NamedTuple):
    """Number of the case, its scan from 0, and slices."""

    case: int
    day: int
    slices: int


def scans() -> Iterator[Scan]:
    """All 274: odd cases have 266 x 266 pixels, even ones are 360 wide and 310 high; 15 scans have 80 slices."""
    for number in range(SMALL_CASES):
        for day in range(SMALL_DAYS):
            short = day == SMALL_DAYS - 1 and number < SHORT_SCANS
            yield Scan(2 * number + 1, day, SHORT if short else SLICES)
    for number in range(LARGE_CASES):
        for day in range(LARGE_DAYS):
            yield Scan(2 * number + 2, day, SLICES)


def make(folder: Path, chosen: list[Scan], *, processes: int) -> Path:
    """Write these scans in the competition's format; a folder that is there already is taken as it is."""
    if (folder / "train.csv").is_file():  # written last
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "train").mkdir(parents=True)
    write_table(folder / "sample_submission.csv", [], ("id", "class", "predicted"))
    spawn = multiprocessing.get_context("spawn")  # a forked process waits forever for OpenCV's threads
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        rows = list(chain.from_iterable(pool.map(_write, repeat(folder / "train"), chosen)))
    write_table(folder / "train.csv", rows, ("id", "class", "segmentation"))
    return folder


def _write(train: Path, scan: Scan) -> list[Row]:
    cv2.setNumThreads(1)
    return list(write_scan(train, scan.case, scan.day, scan.slices, SEED, lesions=0))
