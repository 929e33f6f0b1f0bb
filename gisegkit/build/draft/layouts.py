"""Where images and masks are in a folder: the layouts that people use, as a recipe's [dataset] table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gisegkit.build.draft.annotations import Annotations, find_annotations
from gisegkit.build.draft.listing import folders_in, list_cases, list_images
from gisegkit.build.draft.missing import none_to_read, what_is_missing
from gisegkit.build.draft.naming import cases_of, suffix_beside, suffixes_of
from gisegkit.components.datasets.folder_files import ending_of
from gisegkit.data.images.header import ENDINGS
from gisegkit.data.images.look import read_header
from gisegkit.data.names import examples
from gisegkit.data.tables import read_rows
from gisegkit.errors import DataError, count, listed

IMAGES = ("images", "image", "imgs", "img", "imagestr", "inputs", "input")
MASKS = (
    "masks",
    "mask",
    "labels",
    "label",
    "labelstr",
    "annotations",
    "segmentations",
    "ground_truth",
    "groundtruth",
    "gt",
    "manual",
)
"""What folders of images and of masks are called, in lower case."""

PARTS = ("", "train", "training")
"""Folders that hold those of images and masks."""

OTHERS = ("val", "valid", "validation", "test", "testing")
"""Folders that may hold more of them, which a recipe would name as a data set of its own."""

PAIR = "give the recipe's [dataset] by hand, as docs/recipes.md says"
SPACING = "Distances in mm need the spacing: spacing = [slices, rows, columns] in mm."

ALONE = (
    "I cannot tell which images belong to one patient, so each image is a case of its own; if some belong together, "
)
NO_CASES = f'{ALONE}set dataset.names, such as "{{case}}_{{slice}}"'
NO_CASES_IN_PAGES = f'{ALONE}set dataset.names, such as "{{case}}_{{}}"'.replace("each image", "each file")
NO_CASES_IN_TABLE = f"{ALONE}add a column case to the table"


class Layout(NamedTuple):
    """Where images and masks are.

    Attributes:
        dataset: keys of the recipe's ``[dataset]`` that follow from names, without classes.
        files: label files, whose values say what the classes are; empty where names say it.
        named: names of label values that the folder itself tells, such as nnU-Net's dataset.json.
        why: the reasons, a sentence each.
        asks: what the names cannot tell, a line each.
    """

    dataset: dict[str, Any]
    files: tuple[Path, ...] = ()
    named: dict[int, str] = {}  # noqa: RUF012 - never changed
    why: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


def find_layout(folder: Path) -> Layout:
    """Look at the names of a folder's files; opens tables, JSON files and the header of one image.

    Raises:
        DataError: if there are no images, no masks, or more than one way to pair them; says what to do.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    if any((folder / "train").glob("case*/case*_day*")):
        return _competition(folder)
    tables = [file for file in sorted(folder.glob("*.csv")) if _pairs_files(file)]
    pairs = [pair for part in PARTS for pair in _pairs(folder / part)]
    annotated, others = find_annotations(folder, parts=OTHERS)
    if annotated:  # a folder called annotations may hold no masks
        pairs = [(images, masks) for images, masks in pairs if list_images(masks) or folders_in(masks)]
    ways = [f"by {file.name}" for file in tables]
    ways += [f"{images.relative_to(folder)} with {masks.relative_to(folder)}" for images, masks in pairs]
    ways += [found.way for found in annotated]
    if len(ways) > 1:
        raise DataError(f"{folder}: images and masks can be paired in {len(ways)} ways ({listed(ways)}); {PAIR}")
    if tables:
        return _table(folder, tables[0])
    if annotated:
        return _annotated(folder, annotated[0], others)
    if pairs:
        return _folders(folder, *pairs[0])
    for one in (folder, *(folder / part for part in PARTS[1:]), *(folder / name for name in IMAGES)):
        if suffix := suffix_beside(list_images(one)):
            return _beside(folder, one, suffix)
    raise DataError(f"{folder}: {what_is_missing(folder, parts=PARTS, images=IMAGES, masks=MASKS)}")


def _competition(folder: Path) -> Layout:
    if not (folder / "train.csv").is_file():
        raise DataError(f"{folder}: has the competition's train/ but no train.csv, so no slice has a mask; add it")
    why = "train/caseN/caseN_dayM/scans and train.csv: the folder of the UW-Madison GI tract competition."
    return Layout({"name": "uwmgi", "root": str(folder)}, why=(why,))


# --- a table ---


def _pairs_files(file: Path) -> bool:
    """Whether a table has columns of images and of masks."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "").strip().replace(";", ",").replace("\t", ",")
    return {"image", "mask"} <= {column.strip(' "').lower() for column in first.split(",")}


def _table(folder: Path, file: Path) -> Layout:
    columns = ("image", "mask", "case", "scan")
    rows = read_rows(file, columns[:2], separators=",;\t", skip_blanks=True, any_case=columns)
    masks = [folder / str(name).strip().replace("\\", "/") for name in rows["mask"] if str(name).strip()]
    if not masks:
        raise DataError(f"{file}: its column mask is empty, so that no image has a mask")
    why = (f"{file.name} says which mask belongs to which image.", SPACING)
    asks = () if {"case", "scan"} & set(rows.columns) else (NO_CASES_IN_TABLE,)
    return Layout({"name": "folder", "root": str(folder), "table": file.name}, tuple(masks), why=why, asks=asks)


def _annotated(folder: Path, found: Annotations, others: list[Annotations]) -> Layout:
    dataset, why = dict(found.dataset), list(found.why)
    asks = [
        f'{other.way} is left out; to score it or to train on it too, add a [[dataset]] with role = "test" or "extra"'
        for other in others
    ]
    why.append(SPACING)
    given = cases_of(list(list_images(found.images)))
    if given is None:
        return Layout(dataset, why=tuple(why), asks=(*found.asks, NO_CASES, *asks))
    key, text, reason = given
    return Layout({**dataset, key: text}, why=(*why, reason), asks=(*found.asks, *asks))


# --- folders of images and of masks ---


def _pairs(base: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of images and of masks beside each other."""
    images, masks = ([path for path in folders_in(base) if path.name.lower() in names] for names in (IMAGES, MASKS))
    yield from ((one, other) for one in images for other in masks)


def _places(root: Path, images: Path, masks: Path) -> dict[str, Any]:
    """The keys that say where images and masks are, where that is not the default."""
    places = {key: path.relative_to(root).as_posix() for key, path in (("images", images), ("masks", masks))}
    return {"name": "folder", "root": str(root)} | {key: path for key, path in places.items() if path != key}


def _folders(root: Path, images: Path, masks: Path) -> Layout:
    found, files = list_images(images), list_images(masks)
    dataset = _places(root, images, masks)
    why, asks = [], []
    classes: list[str] = []
    if not found and (found := list_cases(images)):
        dataset["subfolders"] = "cases"
        files = list_cases(masks)
        why.append(f"Folders in {images.name}/ are cases, which the split keeps together.")
    else:
        classes = [path.name for path in folders_in(masks) if list_images(path)]
        empty = [path.name for path in folders_in(masks) if path.name not in classes] if classes else []
        asks += [f"{masks.name}/{name}/ holds no masks, so {name} is no class of the recipe" for name in empty]
    if not found:
        raise DataError(f"{images}: {none_to_read(images, 'holds no')}")
    if files and classes:
        raise DataError(
            f"{masks}: holds both masks ({examples(files)}) and folders of masks ({', '.join(classes)}); {PAIR}"
        )
    if not files and not classes:
        raise DataError(f"{masks}: {none_to_read(masks, 'holds no')}")
    if classes:
        dataset["classes"] = classes
        why.append(f"{masks.name}/ holds a folder of masks for each class, so that classes may overlap.")
        asks += _missing(dataset, found, [list_images(masks / name) for name in classes], masks)
    else:
        why.append(f"{masks.name}/ holds one label file per image, so classes exclude one another.")
        dataset |= suffixes_of(found, files, masks)
    asks += _finish(dataset, root, images, list(found), why)
    asks += _left_out(root)
    return Layout(dataset, tuple(files.values()), _dataset_json(masks.parent), tuple(why), tuple(asks))


def _missing(
    dataset: dict[str, Any], images: dict[str, Path], classes: list[dict[str, Path]], masks: Path
) -> list[str]:
    """Where classes lack masks of some images: the classes do not occur in these."""
    lacking = [name for name in images if any(name not in files for files in classes)]
    if not lacking or any(files.keys() - images.keys() for files in classes):
        return []
    dataset["missing"] = "empty"
    return [
        f"{count(len(lacking), 'image')} of {len(images)} lack a mask of some class in {masks.name}/ "
        f"({examples(lacking)}); I take the class for absent there. If masks are missing, remove dataset.missing"
    ]


def _beside(root: Path, folder: Path, suffix: str) -> Layout:
    """Images and masks in one folder, told apart by a suffix."""
    masks = list_images(folder, suffix=suffix)
    dataset = _places(root, folder, folder) | {"mask_suffix": suffix}
    why = [f"Masks are beside their images; their names end with {suffix}."]
    names = [name for name in list_images(folder) if not name.endswith(suffix)]
    asks = _finish(dataset, root, folder, names, why)
    return Layout(dataset, tuple(masks.values()), _dataset_json(folder), tuple(why), tuple(asks))


def _finish(dataset: dict[str, Any], root: Path, images: Path, names: list[str], why: list[str]) -> list[str]:
    """Pages, images for prediction and cases, which follow from the images alone."""
    files = (list_images(images) or list_cases(images)).values()
    several = any(read_header(file).pages > 1 for file in files if ENDINGS[ending_of(file.name)] == "TIFF")
    if several:
        dataset["pages"] = "slices"
        why.append("Each file is a scan, and its pages are the slices.")
    test = _unlabelled(images)
    if test is not None:
        dataset["unlabelled"] = test.relative_to(root).as_posix()
        why.append(f"{dataset['unlabelled']}/ has no masks, so its images are for prediction.")
    why.append(SPACING)
    if "subfolders" in dataset:
        return []
    suffix = dataset.get("image_suffix", "")
    given = None if several else cases_of([name.removesuffix(suffix) for name in names if name.endswith(suffix)])
    if given is None:
        return [NO_CASES_IN_PAGES if several else NO_CASES]
    key, text, reason = given
    dataset[key] = text
    why.append(reason)
    return []


def _unlabelled(images: Path) -> Path | None:
    """The folder of images for prediction: nnU-Net's imagesTs, or test/images without masks beside it."""
    if images.name == "imagesTr":
        beside = images.with_name("imagesTs")
        return beside if list_images(beside) and not list_images(images.with_name("labelsTs")) else None
    root = images.parent.parent if images.parent.name in PARTS else images.parent
    test = root / "test" / images.name
    masked = any(path.name.lower() in MASKS for path in folders_in(test.parent))
    return test if list_images(test) and not masked else None


def _left_out(root: Path) -> Iterator[str]:
    """Folders of images and masks that the recipe does not use, a line each."""
    for name in OTHERS:
        for other, its_masks in _pairs(root / name):
            yield (
                f"{other.relative_to(root)} with {its_masks.relative_to(root)} is left out; to score it or to train on "
                'it too, add a [[dataset]] with role = "test" or "extra"'
            )


def _dataset_json(folder: Path) -> dict[int, str]:
    """The names of label values in nnU-Net's dataset.json, ``{"labels": {"background": 0, "liver": 1}}``."""
    try:
        labels = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
        pairs = [(value, name) if not str(name).isdecimal() else (name, value) for name, value in labels.items()]
        return {int(value): str(name) for value, name in pairs if int(value)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
