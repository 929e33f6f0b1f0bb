"""What annotation files in JSON have in common: they are read, their points checked, other labels counted."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from gisegkit.errors import DataError, Finding, count, did_you_mean


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: if it cannot be read, or holds something else.
    """
    try:
        held = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON file in UTF-8, or is cut off ({error}); export it again") from error
    if not isinstance(held, dict):
        raise DataError(f"{path}: holds a {type(held).__name__}, and an annotation file holds an object")
    return held


def size_of(entry: dict[str, Any], height: str, width: str) -> tuple[int, int] | None:
    """Height and width as an entry tells them, in pixels; None if it does not."""
    values = entry.get(height), entry.get(width)
    known = all(isinstance(value, int | float) and value > 0 and math.isfinite(value) for value in values)
    return (int(values[0]), int(values[1])) if known else None  # type: ignore[arg-type]


def refuse_bad_points(points: Sequence[Any], *, least: int) -> None:
    """Check the points of a shape.

    Args:
        points: pairs (x, y).
        least: how many there must be.

    Raises:
        DataError: if there are fewer, or one is no pair of finite numbers.
    """
    for point in points:
        pair = isinstance(point, list | tuple) and len(point) == 2
        if not pair or not all(isinstance(value, int | float) and math.isfinite(value) for value in point):
            raise DataError(f"has the point {point!r}, which is no pair of numbers")
    if len(points) < least:
        raise DataError(f"has {count(len(points), 'point')}, and needs {least} to have an area")


class Labels:
    """Tells the labels that a recipe names from the others, and counts these.

    Args:
        named: classes, and labels to ignore.
    """

    def __init__(self, named: Collection[str]) -> None:
        self._named = list(named)
        self._others: defaultdict[str, list[Path]] = defaultdict(list)

    def take(self, label: str, image: Path) -> bool:
        """Whether the recipe names a label; if not, it is counted."""
        if label in self._named:
            return True
        self._others[label].append(image)
        return False

    def findings(self, file: Path) -> Iterator[Finding]:
        """A doubt for each label that the recipe does not name.

        Args:
            file: the annotation file, or the folder of them.
        """
        for label, images in sorted(self._others.items()):
            near = did_you_mean(label, self._named)
            what = (
                f"{label!r} is not in dataset.classes: {count(len(images), 'shape')} in "
                f"{count(len(set(images)), 'image')} ({images[0].name} first) count as background"
            )
            remedy = "add it to dataset.classes or dataset.ignore if it is not background"
            yield Finding("label that is not listed", "warning", str(file), what, f"{near} {remedy}".strip())
