"""Resizing that knows its own way back: from a slice's native size to the network's size and exactly back.

Everything is aligned at pixel centers: the center of output pixel i is at (i + 0.5) * scale of the input, for
images and masks alike. OpenCV's plain nearest neighbor takes floor(i * scale) instead, which shifts masks against
images by up to half a pixel; it is not used.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gisegkit.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, FloatArray, MaskArray

Size = tuple[int, int]
"""Rows and columns, in pixels."""

INTERPOLATIONS = ("nearest", "linear", "area")


@dataclass(frozen=True)
class Stretch:
    """Resize to the network's size; the aspect ratio changes where the two sizes differ in it.

    Args:
        native: rows and columns of the slice, pixels.
        size: rows and columns for the network, pixels.
        interpolation: of images: nearest, linear, or area (the mean of the covered pixels where the image shrinks,
            linear where it grows). Masks are always nearest; probabilities go back as area does.
    """

    native: Size
    size: Size
    interpolation: str = "linear"

    def image(self, image: AnyArray) -> FloatArray:
        """``[H, W, C]`` at native size to ``[h, w, C]`` float."""
        _expect(image, self.native)
        return _resize(_as_float(image), self.size, self.interpolation)

    def mask(self, mask: MaskArray) -> MaskArray:
        """``[H, W, K]`` at native size to ``[h, w, K]``, nearest neighbor: no value that was not there before."""
        _expect(mask, self.native)
        return _nearest(mask, self.size)

    def invert(self, values: FloatArray) -> FloatArray:
        """``[h, w, K]`` float (probabilities) back to ``[H, W, K]``."""
        _expect(values, self.size)
        return _resize(_as_float(values), self.native, "area")


@dataclass(frozen=True)
class Fit:
    """Resize with the aspect ratio kept, into the middle of the network's size; the rest is zero.

    Where the padding is odd, the larger part is below and on the right.

    Args:
        native: rows and columns of the slice, pixels.
        size: rows and columns for the network, pixels.
        interpolation: as of Stretch.
    """

    native: Size
    size: Size
    interpolation: str = "linear"

    @property
    def inner(self) -> Size:
        """Rows and columns that the slice fills."""
        (height, width), (h, w) = self.native, self.size
        if h * width <= w * height:  # the rows are what limits
            return h, min(w, max(1, round(width * h / height)))
        return min(h, max(1, round(height * w / width))), w

    def image(self, image: AnyArray) -> FloatArray:
        """``[H, W, C]`` at native size to ``[h, w, C]`` float, zero around it."""
        padded: FloatArray = self._pad(self._stretch().image(image))
        return padded

    def mask(self, mask: MaskArray) -> MaskArray:
        """``[H, W, K]`` at native size to ``[h, w, K]``, nearest neighbor, zero around it."""
        padded: MaskArray = self._pad(self._stretch().mask(mask))
        return padded

    def invert(self, values: FloatArray) -> FloatArray:
        """``[h, w, K]`` float (probabilities) back to ``[H, W, K]``; what is on the padding is dropped."""
        _expect(values, self.size)
        return self._stretch().invert(values[self._window()])

    def _stretch(self) -> Stretch:
        return Stretch(self.native, self.inner, self.interpolation)

    def _window(self) -> tuple[slice, slice]:
        (h, w), (rows, columns) = self.size, self.inner
        top, left = (h - rows) // 2, (w - columns) // 2
        return slice(top, top + rows), slice(left, left + columns)

    def _pad(self, values: AnyArray) -> AnyArray:
        if self.inner == self.size:
            return values
        canvas = np.zeros((*self.size, *values.shape[2:]), dtype=values.dtype)
        canvas[self._window()] = values
        return canvas


GEOMETRIES: dict[str, type[Stretch] | type[Fit]] = {"stretch": Stretch, "fit": Fit}


@functools.lru_cache(maxsize=1024)  # asked for with every image
def make_geometry(resize: str, native: Size, size: Size, interpolation: str) -> Stretch | Fit:
    """The way from one native size to the network's size, and back.

    Args:
        resize: ``stretch`` or ``fit``.
        native: rows and columns of the slice, pixels, 1 or more.
        size: rows and columns for the network, pixels, 1 or more.
        interpolation: of images: ``nearest``, ``linear`` or ``area``.

    Raises:
        DataError: for another word, or a size below 1.
    """
    for key, word, valid in (
        ("resize", resize, tuple(GEOMETRIES)),
        ("interpolation", interpolation, INTERPOLATIONS),
    ):
        if word not in valid:
            raise DataError(f"{key} = {word!r}: valid is {', '.join(valid)}; {did_you_mean(word, valid)}".rstrip("; "))
    if min(*native, *size) < 1:
        raise DataError(f"cannot resize {_text(native)} to {_text(size)}: every side needs a pixel at least")
    return GEOMETRIES[resize](native, size, interpolation)


def resized(image: AnyArray, geometry: Stretch | Fit) -> AnyArray:
    """An image through a geometry, in the type in which it is kept: its own with ``nearest``, otherwise float.

    Args:
        image: ``[H, W, C]`` at the geometry's native size, or at its size if that has been done.
    """
    if image.shape[:2] == geometry.size:
        return image if geometry.interpolation == "nearest" else _as_float(image)
    changed = geometry.image(image)
    return changed.astype(image.dtype) if geometry.interpolation == "nearest" else changed


def _expect(values: AnyArray, size: Size) -> None:
    if values.ndim != 3 or values.shape[:2] != size:
        raise DataError(f"this geometry is made for {_text(size)} and a last axis of channels, not for {values.shape}")


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]} (height x width)"


def _as_float(values: AnyArray) -> FloatArray:
    exact = values.dtype in (np.float32, np.float64)
    floats: FloatArray = values if exact else values.astype(np.float32)
    return floats


def _nearest(values: AnyArray, size: Size) -> AnyArray:
    (height, width), (h, w) = values.shape[:2], size
    if (height, width) == size:
        return values.copy()
    rows = (2 * np.arange(h) + 1) * height // (2 * h)  # floor((i + 0.5) * height / h), without rounding errors
    columns = (2 * np.arange(w) + 1) * width // (2 * w)
    taken: AnyArray = values.take(rows, axis=0).take(columns, axis=1)
    return taken


def _resize(values: FloatArray, size: Size, interpolation: str) -> FloatArray:
    if interpolation == "nearest" or values.shape[:2] == size:
        return _nearest(values, size)
    if interpolation == "area":  # OpenCV averages only where both sides shrink, so each direction gets its own step
        smaller = min(values.shape[0], size[0]), min(values.shape[1], size[1])
        values = _opencv(values, smaller, cv2.INTER_AREA)
    return _opencv(values, size, cv2.INTER_LINEAR)


def _opencv(values: FloatArray, size: Size, method: int) -> FloatArray:
    if values.shape[:2] == size:
        return values
    rows, columns = size
    resized = [  # OpenCV refuses more than 4 channels for some methods, and drops a last axis of length 1
        cv2.resize(np.ascontiguousarray(values[:, :, c : c + 4]), (columns, rows), interpolation=method).reshape(
            *size, -1
        )
        for c in range(0, values.shape[2], 4)
    ]
    joined: FloatArray = np.concatenate(resized, axis=2) if len(resized) > 1 else np.asarray(resized[0], values.dtype)
    return joined
