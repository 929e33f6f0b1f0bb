"""One JSON file of labelme: the shapes on an image, and the picture that it may hold."""

from __future__ import annotations

import base64
import binascii
import math
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gisegkit.components.datasets.annotation_json import refuse_bad_points
from gisegkit.data.files import read_bytes
from gisegkit.data.images.read import read_image
from gisegkit.data.shapes import Shape
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, FloatArray

LINES = ("line", "linestrip", "point", "points")
"""Shapes of labelme that have no area."""

ALIKE = 0.95
"""Correlation from which on the picture in a file is taken for the image; another JPEG quality gives 0.99."""


def shape_of(entry: Any, place: str) -> Shape:
    """A shape of a file.

    Args:
        place: what it is called in messages.

    Raises:
        DataError: if it has no area, or is damaged.
    """
    label, form, points = str(entry["label"]), entry.get("shape_type") or "polygon", entry.get("points")
    if form in LINES:
        raise DataError(f"is a {form}, which has no area")
    if not isinstance(points, list):
        raise DataError("has no points")
    if form == "polygon":
        refuse_bad_points(points, least=3)
        return Shape(label, place, "polygon", [[tuple(point) for point in points]])
    if form not in ("rectangle", "circle", "mask"):
        raise DataError(f"is a {form}, which is not read; polygon, rectangle, circle and mask are")
    refuse_bad_points(points, least=2)
    (x, y), (next_x, next_y) = points[:2]
    if form == "circle":
        return Shape(label, place, "disk", (x, y, math.dist((x, y), (next_x, next_y))))
    if form == "rectangle":
        corners = points if len(points) == 4 else [(x, y), (next_x, y), (next_x, next_y), (x, next_y)]
        return Shape(label, place, "polygon", [[tuple(corner) for corner in corners]])
    if not isinstance(entry.get("mask"), str):
        raise DataError("is a mask without its pixels")
    return Shape(label, place, "bitmap", (min(x, next_x), min(y, next_y), entry["mask"]))


def image_name(held: dict[str, Any]) -> str:
    """The name of the image that a file is of, without folders; empty if it does not tell."""
    return PureWindowsPath(str(held.get("imagePath") or "")).name


def other_picture(held: dict[str, Any], image: Path) -> str:
    """How the picture in a file differs from the image beside it; empty if it is the same, or if there is none.

    Args:
        held: what the file holds.
        image: the image file.

    Raises:
        DataError: if the image cannot be read.
    """
    if not held.get("imageData"):
        return ""
    try:
        content = base64.b64decode(held["imageData"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        return f"holds a picture (imageData) that is no base64 text ({error})"
    if content == read_bytes(image):
        return ""
    picture = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if picture is None:
        return "holds a picture (imageData) that cannot be decoded"
    here = _gray(read_image(image, alpha="drop"))
    if picture.shape != here.shape:
        sizes = " x ".join(map(str, picture.shape)), " x ".join(map(str, here.shape))
        return f"was drawn on a picture of {sizes[0]} (imageData), and the image is {sizes[1]} (height x width)"
    alike = _correlation(picture.astype(np.float64), here)
    return "" if alike >= ALIKE else f"was drawn on another picture (imageData): its correlation is {alike:.2f}"


def _gray(image: AnyArray) -> FloatArray:
    values: FloatArray = image.astype(np.float64)
    if values.ndim == 2:
        return values
    return values[:, :, :3] @ [0.299, 0.587, 0.114] if values.shape[2] >= 3 else values[:, :, 0]


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Pearson's; 1 for two that are constant."""
    one, other = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((one**2).sum()) * float((other**2).sum()))
    if not scale:
        return float(not one.any() and not other.any())
    return float((one * other).sum()) / scale
