"""Which image belongs to which masks: by their names, or by a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gisegkit.components.datasets.folder_files import FolderFiles, plain
from gisegkit.data.names import NAMED, examples, misfit, two_endings
from gisegkit.data.tables import read_rows
from gisegkit.errors import DataError, Finding, did_you_mean

SPLITS = {
    "": "",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
"""What the column split of a table may hold, and what it means."""


@dataclass(frozen=True)
class Item:
    """An image file, with its masks and what a table says of it.

    Attributes:
        masks: one file, or one a class; None where a class does not occur; empty if the image has no labels.
        case, scan, position: as a table gives them, empty if it does not.
        split: ``train``, ``validation``, ``test`` or empty.
    """

    image: Path
    masks: tuple[Path | None, ...] = ()
    case: str = ""
    scan: str = ""
    position: str = ""
    split: str = ""


def without_suffix(suffix: str, *, but_not: str = "") -> Callable[[str], str | None]:
    """The part of a name before a suffix; None for a name without it, or with the one that it must not have."""

    def take(name: str) -> str | None:
        if (but_not and name.endswith(but_not)) or not name.endswith(suffix) or len(name) == len(suffix):
            return None
        return name.removesuffix(suffix)

    return take


def pair_by_name(
    images: dict[str, Path], folders: Sequence[Path], files: FolderFiles, *, suffix: str, missing: str
) -> dict[str, Item]:
    """Each image with the masks of its name.

    Args:
        folders: of the masks: one, or one a class.
        suffix: what masks' names end with.
        missing: ``empty``: a class does not occur where its mask is not there; else that is refused.

    Raises:
        DataError: if a folder is not there, or images and masks do not pair.
    """
    found: dict[str, list[Path | None]] = {name: [] for name in images}
    take = without_suffix(suffix)
    for folder in folders:
        put = "make a folder of masks for each class, or give labels = {NAME = VALUE}"
        masks = files.images(folder, put=put, take=take)
        _refuse_lonely(images.keys(), masks.keys(), folder, missing=missing, passed=files.passed_over())
        for name, paths in found.items():
            paths.append(masks.get(name))
    return {name: Item(images[name], tuple(paths)) for name, paths in found.items()}


def _refuse_lonely(
    images: Collection[str], masks: Collection[str], folder: Path, *, missing: str, passed: Sequence[str]
) -> None:
    alone, without = set(images) - set(masks), set(masks) - set(images)
    if missing == "empty" and not without:
        return
    if not alone and not without:
        return
    sides = [f"{len(alone)} images have no mask in {folder}: {examples(alone)}"] if alone else []
    sides += [f"{len(without)} masks in {folder} have no image: {examples(without)}"] if without else []
    remedy = 'add what is missing, or move them elsewhere; dataset.table = "pairs.csv" pairs any names'
    if not without:
        remedy += ', dataset.missing = "empty" takes these images for empty'
    for short, long, what, option in (
        (alone, without, "masks", "mask_suffix"),
        (without, alone, "images", "image_suffix"),
    ):
        place, rest = misfit(short, long)
        if rest:
            way = f', or set dataset.{option} = "{rest}"' if place == "end" else ""
            remedy = (
                f"names of {what} {place} with {rest!r}: rename them, so that an image and its mask have the same "
                f"name{way}"
            )
    ends = two_endings(alone, without)
    if all(ends):
        remedy = f'set dataset.image_suffix = "{ends[0]}" and dataset.mask_suffix = "{ends[1]}"'
    raise DataError("; ".join([*sides, *passed, remedy]))


def pair_by_table(file: Path, root: Path, files: FolderFiles, *, columns: Sequence[str]) -> dict[str, Item]:
    """The rows of a CSV file: columns image, those of the masks, and maybe id, case, scan, position and split.

    Args:
        columns: of the masks: ``mask``, or one a class.

    Raises:
        DataError: with every mistake and its line.
    """
    valid = ("image", "id", "split", *NAMED, *columns)
    table = read_rows(file, ("image",), separators=",;\t", skip_blanks=True, any_case=("mask", *valid))
    unknown = [str(column) for column in table.columns if column not in valid]
    problems = [
        f"{file}, line 1: the column {name!r} has no meaning; "
        + (did_you_mean(name, valid) or f"valid are {', '.join(valid)}")
        for name in unknown
    ]
    for name in columns if not set(columns) & set(table.columns) else ():
        problems.append(f"{file}, line 1: there is no column {name!r} for the masks; it may have empty cells")
    items: dict[str, Item] = {}
    for line, row in table.iterrows():
        values = {str(name): str(value).strip() for name, value in row.items()}
        place = f"{file}, line {line}"
        try:
            name, item = _item(values, root, files, columns)
            if name in items:
                raise DataError(
                    f"the name {name} is there before ({items[name].image}); give each row an id of its own"
                )
            items[name] = item
        except DataError as error:
            problems.append(f"{place}: {error}")
    if not problems and not items:
        problems.append(f"{file}: has no rows")
    if problems:
        more = [f"... and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise DataError("\n".join([*problems[:20], *more]))
    return items


def _item(values: dict[str, str], root: Path, files: FolderFiles, columns: Sequence[str]) -> tuple[str, Item]:
    image = _path(values["image"], "image", root, files)
    masks = tuple(_path(values[name], name, root, files) if values.get(name) else None for name in columns)
    split = values.get("split", "")
    if split.lower() not in SPLITS:
        raise DataError(f"split is {split!r}; valid are train, validation, test, or an empty cell")
    if (position := values.get("position", "")) and not position.isdecimal():
        raise DataError(f"position is {position!r}, no whole number")
    name = plain(values.get("id") or image.stem)
    labelled = any(masks)
    if split and SPLITS[split.lower()] != "test" and not labelled:
        raise DataError(f"split is {split}, but the row has no mask")
    return name, Item(
        image,
        masks if labelled else (),
        plain(values.get("case", "")),
        plain(values.get("scan", "")),
        position,
        SPLITS[split.lower()],
    )


def _path(text: str, column: str, root: Path, files: FolderFiles) -> Path:
    if not text:
        raise DataError(f"{column} is empty")
    path = root / text.replace("\\", "/")
    if not path.exists():
        path = root / plain(text)
    if not path.is_file():
        raise DataError(f"{column} {text!r} is not a file in {root}; paths are relative to it")
    files.refuse_escape(path)
    return path


def shared_masks(items: Iterable[Item]) -> Iterator[Finding]:
    """Masks that several images have, a finding each."""
    images: dict[Path, list[str]] = {}
    for item in items:
        for mask in set(item.masks) - {None}:
            images.setdefault(mask, []).append(item.image.name)  # type: ignore[arg-type]
    for mask, names in images.items():
        if len(set(names)) > 1:
            what = f"is the mask of {len(set(names))} images: {examples(set(names))}"
            yield Finding(
                "one mask of several images", "warning", str(mask), what, "see whether the table pairs them right"
            )


def arrange_table(items: dict[str, Item]) -> pd.DataFrame:
    """The table's columns id, scan, position and case as a table of pairs gives them, sorted by scan and position.

    Without case, each scan is a case; without scan, each case is a scan; without both, each image is one by itself.

    Raises:
        DataError: if two slices have one position in a scan, or a scan is of two cases.
    """
    rows: list[tuple[str, str, int, str]] = []
    counts: dict[str, int] = {}
    for name, item in items.items():
        scan = item.scan or item.case or name
        if item.scan and item.case and item.case not in item.scan:
            scan = f"{item.case}/{item.scan}"
        position = int(item.position) if item.position else counts.get(scan, 0)
        counts[scan] = counts.get(scan, 0) + 1
        rows.append((name, scan, position, item.case or scan))
    table = pd.DataFrame(rows, columns=["id", "scan", "position", "case"])
    twice = table.duplicated(["scan", "position"], keep=False)
    if twice.any():
        first = table[twice].iloc[0]
        names = " and ".join(table["id"][twice].tolist()[:2])
        raise DataError(
            f"dataset.table gives {names} the same scan and position ({first['scan']}, {first['position']}); give each "
            "slice of a scan a position of its own"
        )
    return table.sort_values(["scan", "position"], ignore_index=True, kind="stable")
