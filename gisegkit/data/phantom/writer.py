"""Writes the phantom: a synthetic abdomen MR data set in the competition's own format, so anything can be tried.

It replaces data that may not be redistributed. The bodies come from ``phantom_scan``; this file owns the format:
16-bit slices whose names give width before height, ``train.csv`` with row-major 1-based runs, and the header-only
``sample_submission.csv``.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2

from gisegkit.data import rle
from gisegkit.data.phantom.anatomy import CLASSES
from gisegkit.data.phantom.lesions import LESION
from gisegkit.data.phantom.scan import Scan, generator
from gisegkit.errors import DataError, RunError
from gisegkit.types import Progress, silent

GENERATOR_VERSION = 2
"""Changes whenever the same parameters give other files; part of the cache folder's name."""

Row: TypeAlias = dict[str, str]

FIRST_TEST_CASE = 1001
KNOWN_BAD = frozenset(
    {
        "case7_day0", "case81_day30", "case138_day0", "case43_day18", "case43_day26", "case61_day14", "case9_day27",
        "case34_day20", "case124_day19", "case144_day15", "case83_day11", "case13_day0",
    }
)  # fmt: skip
"""Scans of the competition that recipes leave out by name; no phantom has such a name, lest it be left out too."""

SPACING = "1.50_1.50"  # mm


RANGES = {
    "cases": (1, FIRST_TEST_CASE - 1),
    "days": (1, 100),
    "slices": (8, 9999),
    "seed": (0, 2**63 - 1),
    "test_cases": (0, 1000),
    "lesions": (0, 100),
}
"""The smallest and the largest number of each."""


def write_phantom(
    out: Path,
    *,
    cases: int,
    days: int,
    slices: int,
    seed: int,
    test_cases: int = 0,
    lesions: int = 0,
    progress: Progress = silent,
) -> Path:
    """Write a phantom folder; the same parameters give the same bytes.

    A case does not depend on how many others there are. Odd ones are 266 x 266 pixels, even ones 360 wide, 310 high.

    Args:
        out: the folder to make; it appears whole or not at all.
        cases: labelled cases, 1 to 1000.
        days: scans of each case, 1 or more.
        slices: slices of each scan, 8 or more; the more there are, the more of them show chest and pelvis.
        seed: 0 or more.
        test_cases: unseen cases without labels, numbered from 1001, in ``test/``; their truth is in ``test_truth.csv``.
        lesions: the most that a slice of the liver has, disks of 4 to 6 pixels; above 0 they are a fourth class.
        progress: shows how far it has come, scan by scan.

    Raises:
        DataError: a number is out of range.
        RunError: ``out`` is there already and is not an empty folder.
    """
    _check_ranges(cases=cases, days=days, slices=slices, seed=seed, test_cases=test_cases, lesions=lesions)
    _check_free(out)
    labelled = [(case, day) for case in range(1, cases + 1) for day in range(days)]
    hidden = [(FIRST_TEST_CASE + case, day) for case in range(test_cases) for day in range(days)]
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        building.chmod(0o755)  # mkdtemp's folders are for their owner alone
        truth: dict[str, list[Row]] = {"train": [], "test": []}
        for case, day in progress([*labelled, *hidden], "phantom", len(labelled) + len(hidden)):
            part = "train" if case < FIRST_TEST_CASE else "test"
            truth[part] += write_scan(building / part, case, day, slices, seed, lesions)
        write_table(building / "train.csv", truth["train"], ("id", "class", "segmentation"))
        write_table(building / "sample_submission.csv", [], ("id", "class", "predicted"))
        if hidden:
            write_table(building / "test_truth.csv", truth["test"], ("id", "class", "segmentation", "width", "height"))
        _publish(building, out)
        return out
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def day_number(seed: int, case: int, day: int) -> int:
    """The number in the folder's name of a case's scan (from 0): days of treatment, some apart."""
    number = 0
    for earlier in range(day + 1):
        number += int(generator(seed, case, earlier - 1).integers(1, 8)) if earlier else 0
        number += f"case{case}_day{number}" in KNOWN_BAD
    return number


def _publish(building: Path, out: Path) -> None:
    try:
        os.replace(building, out)
    except OSError as error:  # another process was faster
        raise RunError(f"{out}: appeared while the phantom was being made; use it, or name another folder") from error


def _check_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(f"{out}: is in the way of the phantom; name a folder that does not exist yet, or empty this one")


def _check_ranges(**numbers: int) -> None:
    for name, value in numbers.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise DataError(f"phantom: {name} = {value} is out of range; give {low} to {high}")


def write_scan(root: Path, case: int, day: int, slices: int, seed: int, lesions: int) -> Iterator[Row]:
    """Write one scan's slices; yield the rows of its table.

    Args:
        root: the folder ``train`` or ``test``.
        case, day: the number of the case, and of its scan from 0.
    """
    name = f"case{case}_day{day_number(seed, case, day)}"
    folder = root / f"case{case}" / name / "scans"
    folder.mkdir(parents=True)
    scan = Scan(seed=seed, case=case, day=day, slices=slices, lesions=lesions)
    classes = (*CLASSES, LESION) if lesions else CLASSES
    for position in range(slices):
        image, masks = scan.draw(position)
        height, width = image.shape
        path = folder / f"slice_{position + 1:04d}_{width}_{height}_{SPACING}.png"
        path.write_bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
        for index, label in enumerate(classes):
            runs = rle.encode(masks[..., index])
            row = {"id": f"{name}_slice_{position + 1:04d}", "class": label, "segmentation": runs}
            yield {**row, "width": str(width), "height": str(height)}


def write_table(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Write rows as CSV, of each only these columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
