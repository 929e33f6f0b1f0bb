"""Drawn shapes become pixels: polygons, disks, rectangles, and the runs of COCO files.

Coordinates are (x, y) in pixels from the top left corner of the image, so that the pixel in row r and column c covers c
to c + 1 and r to r + 1. A pixel belongs to a shape if its center (c + 0.5, r + 0.5) is inside; one on
the outline does if the inside is to its right. So two polygons that share an edge share no pixel and leave none out.
``cv2.fillPoly`` would count the outline too, which makes every shape half a pixel larger on each side.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import cv2
import numpy as np

from gisegkit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.types import BoolArray

Size = tuple[int, int]

LETTER = 48
"""Code of the letter 0, from which the letters of compressed runs count."""


class Shape(NamedTuple):
    """One shape of an annotation file.

    Attributes:
        label: its class.
        place: what it is called in messages, such as ``annotation 7``.
        form: what it is.
        values: of a polygon its parts, lists of (x, y); of a disk x, y and radius; of runs their counts, with height
            and width; of a bitmap x and y of its top left corner and a PNG file in base64.
        crowd: whether it is a group of objects drawn as one.
    """

    label: str
    place: str
    form: Literal["polygon", "disk", "runs", "bitmap"]
    values: Sequence[Any]
    crowd: bool = False

    def pixels(self, size: Size) -> BoolArray:
        """The pixels that belong to it, ``[H, W]`` bool; parts of a polygon are united.

        Raises:
            DataError: if it is damaged, or its runs are of another size than the image.
        """
        height, width = size
        if self.form == "disk":
            x, y, radius = self.values
            return fill_disk((x, y), radius, height=height, width=width)
        if self.form == "runs":
            counts, *own = self.values
            if tuple(own) != size:
                sizes = f"{own[0]} x {own[1]} (height x width), and the image of {height} x {width}"
                raise DataError(f"its runs are of {sizes}")
            return decode_counts(counts, height=height, width=width)
        mask: BoolArray = np.zeros(size, dtype=bool)
        if self.form == "bitmap":
            _paste(mask, *self.values)
            return mask
        for part in self.values:
            mask |= fill_polygon(np.asarray(part, dtype=np.float64), height=height, width=width)
        return mask

    def beyond(self, size: Size) -> float:
        """How many pixels its outermost point is outside of the image; infinite if all of it does."""
        height, width = size
        if self.form in ("runs", "bitmap"):
            return 0.0
        if self.form == "disk":
            x, y, radius = self.values
            points = np.array([[x - radius, y - radius], [x + radius, y + radius]])
        else:
            points = np.concatenate([np.asarray(part, dtype=np.float64) for part in self.values])
        low, high = points.min(axis=0), points.max(axis=0)
        if (low >= (width, height)).any() or (high <= 0).any():
            return math.inf
        return float(max(0.0, -low.min(), *(high - (width, height))))


def _paste(mask: BoolArray, x: float, y: float, text: str) -> None:
    """Set the pixels of a bitmap whose top left corner is at (x, y)."""
    try:
        content = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"its bitmap is no base64 text ({error})") from error
    bitmap = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if len(content) else None
    if bitmap is None:
        raise DataError("its bitmap cannot be decoded")
    top, left = round(y), round(x)
    bottom, right = top + bitmap.shape[0], left + bitmap.shape[1]
    if top < 0 or left < 0 or bottom > mask.shape[0] or right > mask.shape[1]:
        raise DataError(f"its bitmap covers rows {top} to {bottom} and columns {left} to {right}, beyond the image")
    mask[top:bottom, left:right] |= bitmap != 0


def fill_polygon(points: NDArray[np.float64], *, height: int, width: int) -> BoolArray:
    """The pixels of a polygon, ``[H, W]`` bool; where it crosses itself, what is inside twice is outside.

    Args:
        points: ``[N, 2]``, x and y in pixels; may lie outside of the image.
        height, width: of the image, pixels.
    """
    turns = np.zeros((height, width + 1), dtype=np.int32)
    ends = np.roll(points, -1, axis=0)
    for (x, y), (next_x, next_y) in zip(points, ends, strict=True):
        low, high = (y, next_y) if y < next_y else (next_y, y)
        first, stop = np.clip(np.ceil(np.array([low, high]) - 0.5), 0, height).astype(int)
        rows = np.arange(first, stop)
        if len(rows):
            crossings = x + (rows + 0.5 - y) * (next_x - x) / (next_y - y)
            turns[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] += 1
    inside: BoolArray = turns[:, :-1].cumsum(axis=1) % 2 == 1
    return inside


def fill_disk(center: Sequence[float], radius: float, *, height: int, width: int) -> BoolArray:
    """The pixels of a disk, ``[H, W]`` bool.

    Args:
        center: x and y in pixels.
        radius: in pixels.
        height, width: of the image, pixels.
    """
    columns, rows = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    inside: BoolArray = (columns - center[0]) ** 2 + (rows - center[1]) ** 2 <= radius**2
    return inside


def decode_counts(counts: str | Sequence[int], *, height: int, width: int) -> BoolArray:
    """The pixels of COCO's runs, ``[H, W]`` bool.

    Runs go down the columns, the first of pixels outside, then inside and outside by turns.

    Args:
        counts: the lengths of the runs, or their text (compressed).
        height, width: of the image, pixels.

    Raises:
        DataError: if they are no lengths, or do not cover the image exactly.
    """
    lengths = _lengths(counts) if isinstance(counts, str) else list(counts)
    if not all(isinstance(length, int) and not isinstance(length, bool) and length >= 0 for length in lengths):
        raise DataError("its runs are no whole numbers of 0 or more")
    if sum(lengths) != height * width:
        raise DataError(f"its runs cover {sum(lengths):,} pixels, and {height} x {width} has {height * width:,}")
    turns = np.resize(np.array([False, True]), len(lengths))
    mask: BoolArray = np.repeat(turns, lengths).reshape(width, height).T
    return mask


def _lengths(text: str) -> list[int]:
    """The lengths that a text holds: 5 bits a letter, lowest first, and from the fourth on what is added to the one
    but last (maskApi.c of pycocotools)."""
    lengths: list[int] = []
    value, bits = 0, 0
    for letter in text:
        code = ord(letter) - LETTER
        if not 0 <= code < 64:
            raise DataError(f"its runs have the letter {letter!r}, which compressed runs do not have")
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << bits
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value, bits = 0, 0
    if bits:
        raise DataError("its compressed runs are cut off")
    return lengths
