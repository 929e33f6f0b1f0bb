"""What is in the competition's folders and is passed over or refused: other files, links that lead out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gisegkit.components.datasets.exclusions import SCAN
from gisegkit.components.datasets.uwmgi_tree import BEFORE_NUMBER, SLICE
from gisegkit.errors import Finding, count

STRAY = "file that is passed over"
BROKEN = "folder that breaks the pattern"
PATTERN = "case1/case1_day0/scans"
COPY = "copy it, or set dataset.root to a folder that holds both"


def stray_findings(root: Path) -> Iterator[Finding]:
    """A finding for each folder or file in ``train/`` and ``test/`` that no slice comes from; hidden ones do not count.

    Links that lead out of the root are errors.

    Args:
        root: the competition's folder.
    """
    real = root.resolve()
    for part in ("train", "test"):
        if (root / part).is_dir():
            yield from _links_out([root / part], real)
            yield from _cases(root / part, real)


def _cases(base: Path, real: Path) -> Iterator[Finding]:
    for case in _entries(base):
        if not case.is_dir():
            yield _stray(case.path)
        else:
            yield from _links_out([case], real)
            yield from _scans(case, real)


def _links_out(entries: Iterable[os.DirEntry[str] | Path], real: Path) -> Iterator[Finding]:
    """An error for each link that leads out of the data's folder.

    Args:
        real: that folder, without links.
    """
    for entry in entries:
        if entry.is_symlink():
            path = Path(entry)
            target = path.resolve()
            if target != real and real not in target.parents:
                what = f"leads out of the data's folder, to {target}"
                found = SLICE.fullmatch(path.name)
                ids = (f"{path.parent.parent.name}{BEFORE_NUMBER}{found[1]}",) if found else ()
                yield Finding("link out of the data", "error", str(path), what, COPY, ids)


def _scans(case: os.DirEntry[str], real: Path) -> Iterator[Finding]:
    scans = _entries(Path(case.path))
    if not scans:
        yield Finding(BROKEN, "warning", case.path, "is empty")
    yield from _links_out(scans, real)
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
        slices = _entries(inner)
        yield from _links_out([inner, *slices], real)
        for entry in slices:
            if entry.is_dir() or not entry.name.lower().endswith(".png"):
                yield _stray(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _stray(path: str) -> Finding:
    what = f"is no slice ({Path(path).suffix or 'no ending'})" if Path(path).is_file() else "is a folder"
    return Finding(STRAY, "warning", path, what, f"slices are PNG files in {PATTERN}; move others elsewhere")
