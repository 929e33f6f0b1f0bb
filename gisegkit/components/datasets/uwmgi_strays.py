"""What is in the competition's folders and is passed over: folders that break the pattern, files of other kinds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gisegkit.components.datasets.exclusions import SCAN
from gisegkit.errors import Finding, count

STRAY = "file that is passed over"
BROKEN = "folder that breaks the pattern"
PATTERN = "case1/case1_day0/scans"


def stray_findings(root: Path) -> Iterator[Finding]:
    """A finding for each folder or file in ``train/`` and ``test/`` that no slice comes from; hidden ones do not count.

    Args:
        root: the competition's folder.
    """
    for part in ("train", "test"):
        if (root / part).is_dir():
            yield from _cases(root / part)


def _cases(base: Path) -> Iterator[Finding]:
    for case in _entries(base):
        if not case.is_dir():
            yield _stray(case.path)
        else:
            yield from _scans(case)


def _scans(case: os.DirEntry[str]) -> Iterator[Finding]:
    scans = _entries(Path(case.path))
    if not scans:
        yield Finding(BROKEN, "warning", case.path, "is empty")
    for scan in scans:
        if not scan.is_dir():
            yield _stray(scan.path)
            continue
        named = SCAN.fullmatch(scan.name)
        inner = Path(scan.path) / "scans"
        if named is None or not inner.is_dir():
            lacks = "has no folder scans" if named else "is not named CASE_DAY"
            files = sum(len(names) for _, _, names in os.walk(scan.path))
            what = f"{lacks}, so {count(files, 'file')} in it are passed over"
            yield Finding(BROKEN, "warning", scan.path, what, f"name it as {PATTERN}")
            continue
        if named[1] != case.name:
            what = f"is of {named[1]} by its name, and counts as such, but is in the folder of {case.name}"
            yield Finding("scan in another case's folder", "warning", scan.path, what, "move or rename it")
        for entry in _entries(Path(scan.path)):
            if entry.name != "scans":
                yield _stray(entry.path)
        for entry in _entries(inner):
            if entry.is_dir() or not entry.name.lower().endswith(".png"):
                yield _stray(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _stray(path: str) -> Finding:
    what = f"is no slice ({Path(path).suffix or 'no ending'})" if Path(path).is_file() else "is a folder"
    return Finding(STRAY, "warning", path, what, f"slices are PNG files in {PATTERN}; move others elsewhere")
