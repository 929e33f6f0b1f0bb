"""Where images and masks are in a folder: the layouts that people use, as a recipe's [dataset] table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gisegkit.components.datasets.folder import SUFFIXES
from gisegkit.data.names import affix, examples, likely_cases
from gisegkit.errors import DataError, count, listed

IMAGES = ("images", "image", "imgs", "img", "imagestr", "inputs", "input")
MASKS = ("masks", "mask", "labels", "label", "labelstr", "annotations", "segmentations", "ground_truth", "gt", "manual")
"""What folders of images and of masks are called, in lower case."""

PARTS = ("", "train", "training")
"""Folders that hold those of images and masks."""

OTHERS = ("val", "valid", "validation", "test", "testing")
"""Folders that may hold more of them, which a recipe would name as a data set of its own."""

VOLUMES = (".nii", ".gz", ".dcm", ".mha", ".mhd", ".nrrd")
"""Endings of scans that are one file or a series, which gisegkit does not read."""

CHANNEL = "_0000"
"""What nnU-Net puts after the name of an image's first channel."""

PAIR = "give the recipe's [dataset] by hand, as docs/recipes.md says"


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
    """Look at the names of a folder's files; opens none but dataset.json.

    Raises:
        DataError: if there are no images, no masks, or more than one way to pair them; says what to do.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    if _is_competition(folder):
        return _competition(folder)
    found = [pair for part in PARTS for pair in _pairs(folder / part)]
    if len(found) > 1:
        pairs = listed(f"{images.relative_to(folder)} with {masks.relative_to(folder)}" for images, masks in found)
        raise DataError(f"{folder}: images and masks can be paired in {len(found)} ways ({pairs}); {PAIR}")
    if found:
        return _folders(folder, *found[0])
    raise DataError(f"{folder}: {_scattered(folder) or _one_side(folder) or _missing(folder)}")


# --- the competition's folder ---


def _is_competition(folder: Path) -> bool:
    return any((folder / "train").glob("case*/case*_day*"))


def _competition(folder: Path) -> Layout:
    if not (folder / "train.csv").is_file():
        raise DataError(f"{folder}: has the competition's train/ but no train.csv, so no slice has a mask; add it")
    why = "train/caseN/caseN_dayM/scans and train.csv: the folder of the UW-Madison GI tract competition."
    return Layout({"name": "uwmgi", "root": str(folder)}, why=(why,))


# --- folders of images and of masks ---


def _pairs(base: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of images and of masks beside each other."""
    folders = sorted(path for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
    images, masks = ([path for path in folders if path.name.lower() in names] for names in (IMAGES, MASKS))
    yield from ((one, other) for one in images for other in masks)


def list_images(folder: Path) -> dict[str, Path]:
    """The image files of a folder by their name without ending."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        path.stem: path
        for path in files
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    }


def _folders(root: Path, images: Path, masks: Path) -> Layout:
    found, files = list_images(images), list_images(masks)
    classes = sorted(path.name for path in masks.iterdir() if path.is_dir() and list_images(path))
    if not found:
        raise DataError(f"{images}: {_missing(images, 'holds no')}")
    if files and classes:
        raise DataError(
            f"{masks}: holds both masks ({examples(files)}) and folders of masks ({', '.join(classes)}); {PAIR}"
        )
    if not files and not classes:
        raise DataError(f"{masks}: {_missing(masks, 'holds no')}")
    dataset: dict[str, Any] = {"name": "folder", "root": str(root)}
    for key, path in (("images", images), ("masks", masks)):
        if (relative := path.relative_to(root).as_posix()) != key:
            dataset[key] = relative
    if classes:
        dataset["classes"] = classes
        why = [f"{masks.name}/ holds a folder of masks for each class, so that classes may overlap."]
    else:
        why = [f"{masks.name}/ holds one label file an image, so that classes exclude one another."]
    _pair_names(dataset, found, files or list_images(masks / classes[0]), masks)
    test = _unlabelled(images)
    if test is not None:
        dataset["unlabelled"] = test.relative_to(root).as_posix()
        why.append(f"{dataset['unlabelled']}/ has no masks, so its images are for prediction.")
    why.append("Distances in mm need the spacing: spacing = [slices, rows, columns] in mm.")
    asks = (*_cases(dataset, list(found), why), *_left_out(root, images, masks))
    return Layout(dataset, tuple(files.values()), _dataset_json(masks.parent), tuple(why), asks)


def _pair_names(dataset: dict[str, Any], images: dict[str, Path], masks: dict[str, Path], folder: Path) -> None:
    """How the names of masks follow from those of images, where they differ."""
    if images.keys() == masks.keys():
        return
    if (difference := affix(images, masks)) or (difference := affix(masks, images)):
        raise DataError(
            f"{folder}: names of images and masks differ ({examples(images)}; {examples(masks)}): some {difference}; "
            "rename them, so that an image and its mask have the same name"
        )


def _unlabelled(images: Path) -> Path | None:
    """The folder of images for prediction: nnU-Net's imagesTs, or test/images without masks beside it."""
    if images.name == "imagesTr":
        beside = images.with_name("imagesTs")
        return beside if list_images(beside) and not list_images(images.with_name("labelsTs")) else None
    root = images.parent.parent if images.parent.name in PARTS else images.parent
    test = root / "test" / images.name
    masked = any(path.name.lower() in MASKS for path in test.parent.iterdir()) if test.parent.is_dir() else False
    return test if list_images(test) and not masked else None


def _cases(dataset: dict[str, Any], names: list[str], why: list[str]) -> tuple[str, ...]:
    """Take the cases from the names, or ask."""
    likely = likely_cases(names)
    if likely is not None:
        dataset["pattern"] = likely.pattern
        shown = f"{likely.names[0]} ... {likely.names[-1]}"
        why.append(f"The names look like {len(likely.names)} cases ({shown}), which the split keeps together.")
        return ()
    return (
        "I cannot tell which images belong to one patient, so each image is a case of its own; if some belong "
        "together, set dataset.pattern",
    )


def _left_out(root: Path, images: Path, masks: Path) -> Iterator[str]:
    """Files and folders that the recipe does not use, a line each."""
    for name in OTHERS:
        for other, its_masks in _pairs(root / name):
            yield (
                f"{other.relative_to(root)} with {its_masks.relative_to(root)} is left out; to score it or to train on "
                'it too, add a [[dataset]] with role = "test" or "extra"'
            )
    for folder in (images, masks):
        passed = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() not in SUFFIXES]
        kinds = Counter(path.suffix.lower() or path.name for path in passed if not path.name.startswith("."))
        if kinds:
            files = listed(count(number, f"{kind} file") for kind, number in kinds.most_common())
            yield f"{folder.relative_to(root)}: {files} passed over"


def _dataset_json(folder: Path) -> dict[int, str]:
    """The names of label values in nnU-Net's dataset.json, ``{"labels": {"background": 0, "liver": 1}}``."""
    try:
        labels = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
        pairs = [(value, name) if str(name).isdecimal() is False else (name, value) for name, value in labels.items()]
        return {int(value): str(name) for value, name in pairs if int(value)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


# --- what is not there ---


def _scattered(folder: Path) -> str:
    """What to do with a folder for each image, as in the Data Science Bowl 2018; empty if it is none."""
    own = [path for path in folder.iterdir() if list_images(path / "images") and list_images(path / "masks")]
    if not own:
        return ""
    return (
        f"holds a folder for each image ({examples([path.name for path in own])}) with masks of single objects; merge "
        "the masks of an image into masks/NAME.png and put the image into images/NAME.png (docs/init.md has a script)"
    )


def _one_side(folder: Path) -> str:
    """What a folder lacks that has images but no masks, or the other way around; empty if it has neither."""
    folders = [path for part in PARTS if (folder / part).is_dir() for path in sorted((folder / part).iterdir())]
    images, masks = (
        [path for path in folders if path.is_dir() and path.name.lower() in names] for names in (IMAGES, MASKS)
    )
    if not images and not masks:
        return ""
    there, lacking = ("images", "masks") if images else ("masks", "images")
    return (
        f"has {', '.join(path.relative_to(folder).as_posix() for path in images or masks)}, but no folder of {lacking} "
        f"beside it; put the {lacking} of the {there} into {lacking}/, under the same names"
    )


def _missing(folder: Path, opening: str = "I find no") -> str:
    """What a folder without pairs holds, and what to do."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    kinds = Counter(path.suffix.lower() or path.name for path in files)
    if not kinds:
        return "is empty"
    held = f"there are {listed(count(number, f'{kind} file') for kind, number in kinds.most_common())}"
    if any(kind in VOLUMES for kind in kinds):
        return f"{held}; gisegkit reads slices as PNG or TIFF files, so export each slice of a scan and its mask first"
    if not any(kind in SUFFIXES for kind in kinds):
        return f"{opening} PNG, JPEG or TIFF files; {held}"
    return (
        f"{opening} folders of images and masks ({held}); put images into images/ and their masks, under the same "
        "names, into masks/, or masks/CLASS/ for each class"
    )
