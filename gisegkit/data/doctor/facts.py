"""What the doctor keeps of a slice: a digest of its pixels, a perceptual hash, and a few numbers.

They are taken while a slice is decoded anyway, and kept in the store's index, so that they cost nothing afterwards.
"""

from __future__ import annotations

import functools
import math
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gisegkit.data.planes import count
from gisegkit.data.reading import are_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        truth: a digest of the mask; empty if no pixel of it has a class, or the slice is not labelled.
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
    truth: str = ""

    @property
    def constant(self) -> bool:
        """Whether all pixels have one value."""
        return self.low == self.high


def facts_of(image: AnyArray, mask: MaskArray | None, *, extremes: tuple[float, float] | None = None) -> SliceFacts:
    """The facts of a slice.

    Args:
        image: ``[H, W, C]`` as the dataset gives it.
        mask: ``[H, W, K]`` uint8 with IGNORE; None if the slice is not labelled.
        extremes: the image's smallest and largest value, if they are known already.
    """
    low, high = extremes or (float(image.min()), float(image.max()))
    look, smooth = "", 1.0
    if low < high and are_finite(low, high):
        smooth, look = _texture(image)
    about = (None, [], [], "") if mask is None else _classes(mask)
    return SliceFacts(digest_of(image), look, str(image.dtype), image.shape[2], low, high, smooth, *about)


def digest_of(image: AnyArray) -> str:
    """24 hexadecimal digits that identify the pixels of an image ``[H, W, C]``, whatever file holds them."""
    state = sha256(f"{image.dtype.str}{image.shape}".encode())
    state.update(np.ascontiguousarray(image).data)
    return state.hexdigest()[:24]


def _texture(image: AnyArray) -> tuple[float, str]:
    """``smooth``, of some rows and the ones below them, and ``look``, of all."""
    height, width = image.shape[:2]
    some = np.arange(0, max(1, height - 1), max(1, height // LEAST))
    grey, below = (_grey(image, rows) for rows in (some, np.minimum(some + 1, height - 1)))
    flat, power = grey.ravel(), float(np.vdot(grey, grey))
    smooth = 1.0
    if 0 < power < math.inf:
        near = [float(flat[:-1] @ flat[1:])] * (width > 1) + [float(flat @ below.ravel())] * (height > 1)
        smooth = round(max(near) / power, 4)
    return smooth, _look(_grey(image, _rows(height))) if min(height, width) >= LEAST else ""


@functools.lru_cache(maxsize=256)
def _rows(height: int) -> NDArray[np.int64]:
    """The rows of 16 bands, equally many of each, so that numpy adds them up at once; some rows come twice."""
    edges = np.linspace(0, height, SIDE + 1).astype(int)
    heights = np.diff(edges)
    most = int(heights.max())
    chosen: NDArray[np.int64] = edges[:-1, None] + np.arange(most) * heights[:, None] // most
    return chosen.ravel()


def _grey(image: AnyArray, rows: NDArray[np.int64]) -> AnyArray:
    """``[n, W]`` float32 of these rows, less its mean."""
    taken = image.take(rows, axis=0)
    grey: AnyArray = taken[:, :, 0].astype(np.float32) if image.shape[2] == 1 else taken.mean(axis=2, dtype=np.float32)
    grey -= np.add.reduce(grey, axis=None) / grey.size  # as grey.mean(), in half the time
    return grey


def _look(grey: AnyArray) -> str:
    """Whether each of 16 x 16 parts is brighter than the one to its left (dHash); another size or scale is the same.

    Krawetz, "Kind of like that", 2013.
    """
    width = grey.shape[1]
    starts, widths = _columns(width)
    bands = np.add.reduce(grey.reshape(SIDE, -1, width), axis=1)
    means = np.add.reduceat(bands, starts, axis=1) / widths  # [16, 17]
    return np.packbits(means[:, 1:] > means[:, :-1]).tobytes().hex()


@functools.lru_cache(maxsize=256)
def _columns(width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the 17 parts of a row begin, and how wide they are."""
    edges = np.linspace(0, width, SIDE + 2).astype(int)
    return edges[:-1], np.diff(edges)


def _classes(mask: MaskArray) -> tuple[list[int], list[float], list[list[int]], str]:
    """``pixels``, ``border``, ``twins`` and ``truth``; the digest is of bits where no pixel is ignored."""
    classes, highest = mask.shape[2], int(mask.max(initial=0))
    if not highest:
        return [0] * classes, [0.0] * classes, [], ""
    belongs = mask.view(bool) if highest == 1 else mask == 1
    edges = np.concatenate([belongs[0], belongs[-1], belongs[1:-1, 0], belongs[1:-1, -1]])
    pixels, outermost = (count(part)[0].tolist() for part in (belongs[None], edges[None, None]))
    border = [round(number / len(edges), 4) for number in outermost]
    twins = [
        [a, b]
        for b in range(classes)
        for a in range(b)
        if pixels[a] == pixels[b] > 0 and np.array_equal(belongs[:, :, a], belongs[:, :, b])
    ]
    return pixels, border, twins, digest_of(np.packbits(belongs) if highest == 1 else mask)
