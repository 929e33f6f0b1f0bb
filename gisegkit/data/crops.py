"""Crops for training: a window of the network's size, at native resolution or at a given scale of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.geometry import Size, Stretch

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, FloatArray, MaskArray


def scaled(native: Size, scale: float) -> Size:
    """Rows and columns of a slice at a scale: of 0.5 for half as many of each."""
    height, width = (max(1, round(side * scale)) for side in native)
    return height, width


@dataclass(frozen=True)
class Crop:
    """One window of a slice.

    Attributes:
        top, left: its first row and column in the slice, in native pixels; negative where it is larger than the slice.
        window: its rows and columns in native pixels.
        size: rows and columns for the network.
        interpolation: of images, as of Stretch.
    """

    top: int
    left: int
    window: Size
    size: Size
    interpolation: str = "linear"

    def image(self, image: AnyArray) -> FloatArray:
        """``[H, W, C]`` at native size to ``[h, w, C]`` float, zero outside the slice."""
        return self._stretch().image(self._cut(image))

    def mask(self, mask: MaskArray) -> MaskArray:
        """``[H, W, K]`` at native size to ``[h, w, K]``, nearest neighbor, zero outside the slice."""
        return self._stretch().mask(self._cut(mask))

    def _stretch(self) -> Stretch:
        return Stretch(self.window, self.size, self.interpolation)

    def _cut(self, values: AnyArray) -> AnyArray:
        rows, columns = self.window
        top, left = max(0, self.top), max(0, self.left)
        bottom, right = self.top + rows, self.left + columns
        inside = values[top:bottom, left:right]
        if inside.shape[:2] == self.window:
            return inside
        canvas = np.zeros((rows, columns, *values.shape[2:]), dtype=values.dtype)
        down, across = top - self.top, left - self.left
        canvas[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
        return canvas


def window_of(size: Size, scale: float) -> Size:
    """Native rows and columns that a window of the network's size covers at a scale."""
    rows, columns = (max(1, round(side / scale)) for side in size)
    return rows, columns


def place(native: Size, window: Size, rng: np.random.Generator, *, mask: MaskArray | None = None) -> tuple[int, int]:
    """Where a random window begins: its first row and column, in native pixels.

    A window that is larger than the slice has it in the middle. Without a mask every place inside is equally likely.

    Args:
        native: rows and columns of the slice.
        window: rows and columns of the window.
        mask: ``[H, W, K]`` uint8 with IGNORE. The window is put around a random pixel of a random class that the slice
            has, as far as it stays inside; anywhere if the slice has no class.
    """
    center = None if mask is None else _pixel_of_a_class(mask, rng)
    corner = []
    for axis, (whole, part) in enumerate(zip(native, window, strict=True)):
        room = whole - part
        if room <= 0:
            corner.append(-(-room // 2))  # as Fit pads: the larger part below and on the right
        elif center is None:
            corner.append(int(rng.integers(0, room + 1)))
        else:
            corner.append(min(max(0, center[axis] - part // 2), room))
    return corner[0], corner[1]


def _pixel_of_a_class(mask: MaskArray, rng: np.random.Generator) -> tuple[int, int] | None:
    """A random pixel of a random class that the mask has; None if it has none."""
    present = np.flatnonzero((mask == 1).any(axis=(0, 1)))
    if not len(present):
        return None
    pixels = np.flatnonzero(mask[:, :, rng.choice(present)] == 1)
    row, column = divmod(int(rng.choice(pixels)), mask.shape[1])
    return row, column
