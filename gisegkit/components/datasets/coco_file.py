"""The instances of a COCO file: its images, its categories, and the shapes on each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gisegkit.components.datasets.annotation_json import Labels, read_json, refuse_bad_points
from gisegkit.data.shapes import Shape
from gisegkit.errors import DataError, Finding, did_you_mean, listed

REDRAW = "draw its outline, or remove it from the file"


class CocoFile:
    """Reads a file, and keeps what it finds in ``findings``.

    Args:
        path: the file.
        classes, ignore: names of categories.

    Attributes:
        images: the entries of images that are used, by their id.
        shapes: on each image, by its id; an image without any is not in it, one with other categories alone is.

    Raises:
        DataError: if it is no such file, or lacks a category that the recipe names.
    """

    def __init__(self, path: Path, *, classes: Iterable[str], ignore: Iterable[str]) -> None:
        self.path = path
        self.findings: list[Finding] = []
        held = read_json(path)
        lacking = [key for key in ("images", "annotations", "categories") if not isinstance(held.get(key), list)]
        if lacking:
            raise DataError(
                f"{path}: is no COCO file of instances; it lacks the list{'s' * (len(lacking) > 1)} "
                f"{' and '.join(lacking)}"
            )
        named = [*classes, *ignore]
        self._categories = self._read_categories(held["categories"], named)
        self.images: dict[Any, dict[str, Any]] = {}
        for number, entry in enumerate(held["images"]):
            self._add_image(number, entry)
        self.shapes: defaultdict[Any, list[Shape]] = defaultdict(list)
        self._labels = Labels(named)
        self._strays: list[str] = []
        for number, entry in enumerate(held["annotations"]):
            self._add(number, entry)
        self._tell()

    def name(self, image: Any) -> str:
        """The file name of an image by its id."""
        return str(self.images[image]["file_name"]).replace("\\", "/")

    def _read_categories(self, entries: list[Any], named: list[str]) -> dict[Any, str]:
        try:
            categories = {entry["id"]: str(entry["name"]) for entry in entries}
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.path}: a category lacks its id or name ({error})") from error
        if len(categories) != len(entries):
            raise DataError(f"{self.path}: two categories have one id; give each an id of its own")
        held = sorted(set(categories.values()))
        unknown = [name for name in named if name not in held]
        if unknown:
            near = did_you_mean(unknown[0], held)
            names = ", ".join(map(repr, unknown))
            hint = f"; {near}" if near else ""
            raise DataError(f"{self.path}: has no category {names}; it has {listed(held, shown=20)}{hint}")
        return categories

    def _add_image(self, number: int, entry: Any) -> None:
        if not isinstance(entry, dict) or "id" not in entry or not entry.get("file_name"):
            raise DataError(f"{self.path}: image {number + 1} of the list lacks its id or file_name")
        if entry["id"] in self.images:
            raise DataError(
                f"{self.path}: the image id {entry['id']} is there twice ({self.name(entry['id'])}, "
                f"{entry['file_name']}); give each image an id of its own"
            )
        self.images[entry["id"]] = entry

    def _add(self, number: int, entry: Any) -> None:
        """One annotation, or what is wrong with it."""
        if not isinstance(entry, dict):
            raise DataError(f"{self.path}: annotation {number + 1} of the list is no object")
        place = f"annotation {entry.get('id', f'number {number + 1}')}"
        image, category = entry.get("image_id"), entry.get("category_id")
        if image not in self.images:
            self._strays.append(f"{place} of image {image}")
            return
        shapes = self.shapes[image]
        if category not in self._categories:
            self._tell_bad(
                place, image, "unknown category", f"has the category {category}, which the file does not list"
            )
            return
        label = self._categories[category]
        if not self._labels.take(label, Path(self.name(image))):
            return
        try:
            shapes.append(_shape(entry, label, place))
        except DataError as error:
            self._tell_bad(f"{place} ({label})", image, "shape without area", str(error))

    def _tell_bad(self, place: str, image: Any, kind: str, what: str) -> None:
        where = f"{self.path}, {self.name(image)}, {place}"
        self.findings.append(Finding(kind, "error", where, what, REDRAW, (self.name(image),)))

    def _tell(self) -> None:
        self.findings += self._labels.findings(self.path)
        if self._strays:
            what = f"{len(self._strays)} annotations are of images that the file does not list ({listed(self._strays)})"
            self.findings.append(Finding("annotation without image", "error", str(self.path), what, "export it again"))


def _shape(entry: dict[str, Any], label: str, place: str) -> Shape:
    """An annotation's shape.

    Raises:
        DataError: if it has none.
    """
    drawn, crowd = entry.get("segmentation"), bool(entry.get("iscrowd"))
    if not drawn:
        raise DataError("has a box and no shape" if entry.get("bbox") else "has no shape (segmentation)")
    if isinstance(drawn, dict):
        counts, size = drawn.get("counts"), drawn.get("size")
        sized = isinstance(size, list) and len(size) == 2 and all(isinstance(length, int) for length in size)
        if not isinstance(counts, str | list) or not sized:
            raise DataError("has runs without counts or size")
        return Shape(label, place, "runs", [counts, *drawn["size"]], crowd)
    if not isinstance(drawn, list) or not all(isinstance(part, list) for part in drawn):
        raise DataError("has a segmentation that is neither polygons nor runs")
    parts = []
    for part in drawn:
        if len(part) % 2:
            raise DataError(f"has a polygon of {len(part)} numbers; they are pairs of x and y")
        parts.append(list(zip(part[::2], part[1::2], strict=True)))
        refuse_bad_points(parts[-1], least=3)
    return Shape(label, place, "polygon", parts, crowd)
