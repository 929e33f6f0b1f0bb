"""Whether run lengths were written along the columns: read along the rows, their shapes fall into stripes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gisegkit.data import rle
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import BoolArray

JUDGED = 48
"""Masks that are looked at, spread over all."""

SHORTER = 0.7
"""Share of the outline that is left if a mask is read along the columns, from which it looks written so. Of organs it
is 0.1 to 0.5 then; the other way round it is 2 to 10."""


class Direction(NamedTuple):
    """Masks of slices that are not square, and how many of them look written along the columns, with the first."""

    judged: int
    columns: int
    first: str

    @property
    def doubtful(self) -> bool:
        """Whether most of two masks or more look so."""
        return self.judged >= 2 and self.columns > self.judged / 2

    def __str__(self) -> str:
        return (
            f"{self.columns} of {self.judged} masks that were looked at (first: {self.first}) fall into stripes: they "
            "seem to be written along the columns (top to bottom), and gisegkit reads runs along the rows"
        )


def direction(masks: Iterable[tuple[str, str, int, int]]) -> Direction:
    """How masks look that are read along the rows.

    A square slice tells nothing: the other way round its masks are whole too, only transposed.

    Args:
        masks: a name, the runs, and height and width in pixels of each.
    """
    told = [mask for mask in masks if mask[1] and mask[2] != mask[3]]
    chosen = [told[place] for place in np.unique(np.linspace(0, len(told) - 1, JUDGED).astype(int))] if told else []
    judged, doubted = 0, []
    for name, runs, height, width in chosen:
        try:
            along = _outline(rle.decode(runs, height=height, width=width))
            across = _outline(rle.decode(runs, height=width, width=height))
        except DataError:  # told where runs are read
            continue
        judged += 1
        if across < SHORTER * along:
            doubted.append(name)
    return Direction(judged, len(doubted), doubted[0] if doubted else "")


def _outline(mask: BoolArray) -> int:
    """Pairs of neighboring pixels of which one belongs to the mask."""
    return int((mask[1:] != mask[:-1]).sum()) + int((mask[:, 1:] != mask[:, :-1]).sum())
