"""What the doctor keeps of a slice: a digest of its pixels, a perceptual hash, and a few numbers.

They are taken while a slice is decoded anyway, and kept in the store's index, so that they cost nothing afterwards.
"""

from __future__ import annotations

import math
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gisegkit.data.planes import split
from gisegkit.data.reading import are_finite

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, MaskArray

SIDE = 16
"""Rows and columns of the perceptual hash, so that it has 256 bits."""

LEAST = 32
"""Pixels that an image must have on either side to be hashed: a smaller one has too little to be told apart by."""


class SliceFacts(NamedTuple):
    """What is kept of a slice; plain values, as JSON has them.

    Attributes:
        digest: of the decoded pixels, their type and shape; 24 hexadecimal digits.
        look: the perceptual hash, 64 hexadecimal digits; empty for an image that is constant, too small or not finite.
        dtype: of the pixels, such as ``uint16``.
        channels: of the image.
        low, high: its smallest and largest value.
        smooth: the larger correlation of pixels with the next one in their row or column: 0 for noise, nearly 1 for a
            picture.
        pixels: of each class; None if the slice is not labelled.
        border: share of the slice's outermost pixels that are of each class.
        twins: pairs of classes, by number, that have the same pixels, and some.
    """

    digest: str
    look: str
    dtype: str
    channels: int
    low: float
    high: float
    smooth: float
    pixels: list[int] | None
    border: list[float]
    twins: list[list[int]]

    @property
    def constant(self) -> bool:
        """Whether all pixels have one value."""
        return self.low == self.high


def facts_of(image: AnyArray, mask: MaskArray | None) -> SliceFacts:
    """The facts of a slice.

    Args:
        image: ``[H, W, C]`` as the dataset gives it.
        mask: ``[H, W, K]`` uint8 with IGNORE; None if the slice is not labelled.
    """
    low, high = float(image.min()), float(image.max())
    look, smooth = "", 1.0
    if low < high and are_finite(low, high):
        grey = _grey(image)
        smooth = _smoothness(grey)
        look = _look(grey)
    pixels, border, twins = (None, [], []) if mask is None else _classes(mask)
    return SliceFacts(
        digest_of(image), look, str(image.dtype), image.shape[2], low, high, smooth, pixels, border, twins
    )


def digest_of(image: AnyArray) -> str:
    """24 hexadecimal digits that identify the pixels of an image ``[H, W, C]``, whatever file holds them."""
    state = sha256(f"{image.dtype.str}{image.shape}".encode())
    state.update(np.ascontiguousarray(image).data)
    return state.hexdigest()[:24]


def _grey(image: AnyArray) -> AnyArray:
    """``[H, W]`` float32, less its mean."""
    grey: AnyArray = image[:, :, 0].astype(np.float32) if image.shape[2] == 1 else image.mean(axis=2, dtype=np.float32)
    grey -= grey.mean()
    return grey


def _smoothness(grey: AnyArray) -> float:
    flat, width = grey.ravel(), grey.shape[1]
    power = float(flat @ flat)
    if not 0 < power < math.inf:
        return 1.0
    near = [float(flat[:-step] @ flat[step:]) for step in (1, width) if step < len(flat)]
    return round(max(near) / power, 4)


def _look(grey: AnyArray) -> str:
    """Whether each of 16 x 16 parts is brighter than the one to its left (dHash); another size or scale is the same.

    Krawetz, "Kind of like that", 2013.
    """
    if min(grey.shape) < LEAST:
        return ""
    rows, columns = (
        np.linspace(0, side, parts + 1).astype(int) for side, parts in zip(grey.shape, (SIDE, SIDE + 1), strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0), columns[:-1], axis=1)  # [16, 17], faster than cv2
    means = sums / np.diff(columns)
    return np.packbits(means[:, 1:] > means[:, :-1]).tobytes().hex()


def _classes(mask: MaskArray) -> tuple[list[int], list[float], list[list[int]]]:
    if not mask.any():
        return [0] * mask.shape[2], [0.0] * mask.shape[2], []
    planes = [plane == 1 for plane in split(mask)]
    pixels = [int(np.count_nonzero(plane)) for plane in planes]
    border = [_border(plane) if number else 0.0 for plane, number in zip(planes, pixels, strict=True)]
    twins = [
        [a, b]
        for b in range(len(planes))
        for a in range(b)
        if pixels[a] == pixels[b] > 0 and np.array_equal(planes[a], planes[b])
    ]
    return pixels, border, twins


def _border(plane: AnyArray) -> float:
    edges = np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]])
    return round(float(edges.mean()), 4)
