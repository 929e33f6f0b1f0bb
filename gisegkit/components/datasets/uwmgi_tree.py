"""The folders of the UW-Madison competition: what its files' names tell of slices, sizes and spacing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gisegkit.components.datasets.exclusions import SCAN
from gisegkit.errors import DataError, listed
from gisegkit.types import SPACING

SLICE = re.compile(r"slice_(\d+)_(\d+)_(\d+)_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)\.png", re.IGNORECASE)
SliceRow = tuple[str, str, int, str, int, int, float, float, str]
THICKNESS = 3.0
"""mm from a slice to the next; the organizers' description says it, no file does."""
BEFORE_NUMBER = "_slice_"
"""What is between scan and number in an id; an id without it is a scan of one slice."""

SCAN_FILE = re.compile(r"slice_(\d+)_(\d+)_(\d+)_(?:(\d+\.?\d*)_(\d+\.?\d*)\.)?")
"""Number, width, height, and mm from column to column and row to row; the start of a file's name."""


def subfolders(root: Path) -> list[Path]:
    """The folders in a folder, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir())


def list_slices(root: Path, part: str) -> list[SliceRow]:
    """One row a slice of ``train`` or ``test``, from folder and file names alone."""
    rows: list[SliceRow] = []
    odd: list[Path] = []
    base = root / part
    for case in subfolders(base) if base.is_dir() else []:
        for scan in subfolders(case):
            parts = SCAN.fullmatch(scan.name)
            if parts is None or not (scan / "scans").is_dir():
                continue
            for file in os.listdir(scan / "scans"):
                if file.startswith(".") or not file.lower().endswith(".png"):
                    continue
                found = SLICE.fullmatch(file)
                if found is None:
                    odd.append(scan / "scans" / file)
                    continue
                number, width, height, spacing_x, spacing_y = found.groups()
                name = f"{scan.name}_slice_{number}"
                place = f"{part}/{case.name}/{scan.name}/scans/{file}"
                mm = float(spacing_y), float(spacing_x)
                rows.append((name, scan.name, int(number), parts[1], int(height), int(width), *mm, place))
    if odd:
        more = f" (and {len(odd) - 1} more: {listed(map(str, odd[1:]), shown=3)})" if len(odd) > 1 else ""
        raise DataError(
            f"{odd[0]}: is not named slice_NUMBER_WIDTH_HEIGHT_SPACING_SPACING.png{more}; rename or remove it"
        )
    return rows


def sizes_beside(root: Path, scans: Mapping[str, object]) -> dict[str, tuple[int, int]]:
    """Sizes from the names of the scans' files in the competition's tree; width comes before height there."""
    sizes: dict[str, tuple[int, int]] = {}
    for scan in scans:
        for name in _names_beside(root, scan):
            sizes[f"{scan}{BEFORE_NUMBER}{name[1]}"] = int(name[3]), int(name[2])
    return sizes


def spacing_beside(root: Path, scan: str) -> dict[str, float]:
    """The spacing of a scan in the competition's tree; empty if its files are not there or do not tell."""
    name = next(_names_beside(root, scan), None)
    if name is None or name[4] is None:
        return {}
    return dict(zip(SPACING, (THICKNESS, float(name[5]), float(name[4])), strict=True))


def _names_beside(root: Path, scan: str) -> Iterator[re.Match[str]]:
    for part in ("train", "test"):
        for file in (root / part / scan.partition("_")[0] / scan / "scans").glob("slice_*"):
            if name := SCAN_FILE.match(file.name):
                yield name
