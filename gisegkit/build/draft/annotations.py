"""Annotation files in a folder: a COCO file of instances, or a labelme file an image."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gisegkit.build.draft.listing import folders_in, list_images
from gisegkit.components.datasets.annotation_json import read_json
from gisegkit.data.names import examples
from gisegkit.errors import DataError, count, listed

COCO = ("images", "annotations", "categories")
"""The lists of a COCO file."""


class Annotations(NamedTuple):
    """Annotation files that were found.

    Attributes:
        dataset: the keys of ``[dataset]``.
        images: the folder of the images.
        way: what they are, for a message.
        why, asks: as of ``Layout``.
    """

    dataset: dict[str, Any]
    images: Path
    way: str
    why: tuple[str, ...]
    asks: tuple[str, ...]


def find_annotations(folder: Path, *, parts: Collection[str]) -> tuple[list[Annotations], list[Annotations]]:
    """The annotation files of a folder and of the folders in it; and those for validation or tests, if not alone.

    Args:
        parts: what folders and files of other parts than training have in their names.

    Raises:
        DataError: if images of a file cannot be found, or it has no classes.
    """
    found = list(_all(folder))
    others = [one for one in found if set(re.split(r"[^a-z]+", one.way.lower())) & set(parts)]
    return ([one for one in found if one not in others], others) if len(others) < len(found) else (found, [])


def _all(folder: Path) -> Iterator[Annotations]:
    for place in (folder, *folders_in(folder)):
        files = {file: held for file in sorted(place.glob("*.json")) if (held := _held(file))}
        yield from (_coco(folder, file, held) for file, held in files.items() if _is_coco(held))
        drawn = {file: held for file, held in files.items() if isinstance(held.get("shapes"), list)}
        if drawn:
            yield _labelme(folder, place, drawn)


def _held(file: Path) -> dict[str, Any]:
    """What a file holds; nothing if it is no object in JSON, which whoever reads the data tells."""
    try:
        return read_json(file)
    except DataError:
        return {}


def _is_coco(held: dict[str, Any]) -> bool:
    return all(isinstance(held.get(key), list) for key in COCO) and bool(held["images"])


def _keys(root: Path, **paths: Path) -> dict[str, Any]:
    return {"root": str(root)} | {key: path.relative_to(root).as_posix() for key, path in paths.items()}


def _coco(root: Path, file: Path, held: dict[str, Any]) -> Annotations:
    names = [str(entry.get("file_name", "")).replace("\\", "/") for entry in held["images"]]
    places = [file.parent, *folders_in(file.parent), root, *folders_in(root)]
    images = next((place for place in places if (place / names[0]).is_file()), None)
    if images is None:
        raise DataError(
            f"{file}: its first image, {names[0]}, is in none of the folders {listed(dict.fromkeys(places))}; put the "
            "images into images/"
        )
    drawn = Counter(entry.get("category_id") for entry in held["annotations"])
    known = sorted(held["categories"], key=lambda entry: (str(type(entry["id"])), entry["id"]))
    classes = list(dict.fromkeys(str(entry["name"]) for entry in known if drawn[entry["id"]]))
    if not classes:
        raise DataError(f"{file}: has no annotation of its {count(len(known), 'category', 'categories')}")
    dataset = {"name": "coco", **_keys(root, images=images, annotations=file), "classes": classes}
    why = [f"{file.name} is a COCO file of {count(len(held['annotations']), 'annotation')}; classes may overlap."]
    unused = [str(entry["name"]) for entry in known if not drawn[entry["id"]]]
    if unused:
        why.append(f"Categories without an annotation are left out: {listed(unused)}.")
    with_some = {entry.get("image_id") for entry in held["annotations"]}
    without = [name for name, entry in zip(names, held["images"], strict=True) if entry.get("id") not in with_some]
    asks = _missing(dataset, without, len(names))
    return Annotations(dataset, images, f"by {file.relative_to(root)} (COCO)", tuple(why), asks)


def _labelme(root: Path, place: Path, drawn: dict[Path, dict[str, Any]]) -> Annotations:
    stems = {file.stem for file in drawn}
    places = [place, *folders_in(root), root]
    images = max(places, key=lambda one: len(stems & list_images(one).keys()))
    found = list_images(images)
    if not stems & found.keys():
        raise DataError(f"{place}: has labelme files ({examples(stems)}), and no folder has images of these names")
    shapes = [shape for held in drawn.values() for shape in held["shapes"] if isinstance(shape, dict)]
    classes = sorted({str(shape["label"]) for shape in shapes if "label" in shape})
    if not classes:
        raise DataError(f"{place}: its labelme files have no shape")
    keys = _keys(root, images=images, **({} if place == images else {"annotations": place}))
    dataset = {"name": "labelme", **keys, "classes": classes}
    why = (f"{count(len(drawn), 'labelme file')} with {count(len(shapes), 'shape')}; classes may overlap.",)
    asks = _missing(dataset, sorted(found.keys() - stems), len(found))
    return Annotations(dataset, images, f"by the labelme files in {place.relative_to(root) or '.'}", why, asks)


def _missing(dataset: dict[str, Any], without: list[str], number: int) -> tuple[str, ...]:
    """Images without annotation are background, which somebody has to confirm."""
    if not without:
        return ()
    dataset["missing"] = "empty"
    return (
        f"{len(without)} of {count(number, 'image')} have no annotation ({examples(without)}); I take the classes for "
        'absent there. If they are not annotated yet, set dataset.missing = "unlabelled"',
    )
