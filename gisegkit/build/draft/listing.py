"""Folders and image files by name, as the dataset folder lists them; nothing is opened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gisegkit.components.datasets.folder_files import ending_of, plain
from gisegkit.data.images.header import ENDINGS
from gisegkit.errors import count, listed


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder; none if it is not there."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def list_images(folder: Path, *, suffix: str = "") -> dict[str, Path]:
    """The image files of a folder by their name without ending and suffix."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    named = {
        plain(path.stem): path
        for path in files
        if ending_of(path.name) in ENDINGS and not path.name.startswith(".") and path.is_file()
    }
    return {name.removesuffix(suffix): path for name, path in named.items() if name.endswith(suffix)}


def list_cases(folder: Path) -> dict[str, Path]:
    """The image files in the folders of a folder, as ``CASE_NAME``."""
    return {
        f"{plain(case.name)}_{name}": path for case in folders_in(folder) for name, path in list_images(case).items()
    }


def kinds_of(paths: list[Path]) -> str:
    """How many files of each ending there are, in words; hidden ones do not count."""
    kinds = Counter(ending_of(path.name) or path.name for path in paths if not path.name.startswith("."))
    return listed(count(number, f"{kind} file") for kind, number in kinds.most_common())
