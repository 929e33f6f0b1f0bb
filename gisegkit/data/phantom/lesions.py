"""Small round lesions in the phantom's liver: what a network cannot see in a slice that was shrunk too much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.types import BoolArray

    Float: TypeAlias = NDArray[np.floating[Any]]

LESION = "lesion"
"""The class; the last of a phantom with lesions."""

DIAMETER = (4.0, 6.0)
"""Pixels, from and to; equally likely."""

CONTRAST = (1.5, 1.9)
"""How many times as bright as the liver."""

MARGIN = 4
"""Pixels at least from a lesion's center to the liver's outline, and from the edge of one lesion to that of another."""


class Lesion(NamedTuple):
    """A disk in a slice.

    Attributes:
        row, column: its center, in pixels; the center of the first pixel is (0, 0).
        diameter: in pixels.
        contrast: how many times as bright as the liver.
    """

    row: float
    column: float
    diameter: float
    contrast: float

    def depth(self, shape: tuple[int, int]) -> Float:
        """``[H, W]``: how far each pixel's center is inside the outline, in pixels; below 0 outside."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        return np.asarray(self.diameter / 2 - np.hypot(rows - self.row, columns - self.column), dtype=np.float32)


def place_lesions(free: BoolArray, rng: np.random.Generator, *, most: int) -> list[Lesion]:
    """Draw the lesions of a slice: from none to ``most``, each number equally likely.

    Args:
        free: ``[H, W]``, where a center may be; changed: later lesions keep away from earlier ones.
        most: fewer are placed where there is no room.
    """
    lesions: list[Lesion] = []
    for _ in range(int(rng.integers(0, most + 1))):
        centers = np.flatnonzero(free)
        if not len(centers):
            break
        row, column = divmod(int(rng.choice(centers)), free.shape[1])
        beside = rng.uniform(-0.5, 0.5, 2)
        lesion = Lesion(row + beside[0], column + beside[1], rng.uniform(*DIAMETER), rng.uniform(*CONTRAST))
        lesions.append(lesion)
        free &= lesion.depth((free.shape[0], free.shape[1])) < -math.ceil(MARGIN + DIAMETER[1] / 2)
    return lesions
