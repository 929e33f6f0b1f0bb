"""Whether slices have the neighbors that a 2.5D input takes for channels; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.types import BoolArray


def lonely(table: pd.DataFrame, *, slices: int, stride: int, edge: str) -> BoolArray:
    """The slices whose stack holds no other slice of their scan.

    Args:
        table: a dataset's, N rows sorted by scan and position.
        slices, stride, edge: as of ``SliceReader``.

    Returns:
        ``[N]``; all False if a stack is a single slice anyway.
    """
    codes = np.unique(table["scan"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)
    positions = table["position"].to_numpy(dtype=np.int64)
    reach = slices // 2 * stride
    alone = np.full(len(table), reach > 0)
    if edge == "clamp":  # takes the slice nearest to a position that does not exist, between that and the center
        near = (codes[1:] == codes[:-1]) & (np.diff(positions) <= reach)
        alone[1:] &= ~near
        alone[:-1] &= ~near
        return alone
    there = set(zip(codes.tolist(), positions.tolist(), strict=True))
    for offset in range(stride, reach + 1, stride):
        for other in (positions - offset, positions + offset):
            alone &= [place not in there for place in zip(codes.tolist(), other.tolist(), strict=True)]
    return alone


def neighbor_warnings(table: pd.DataFrame, *, slices: int, stride: int, edge: str) -> Iterator[str]:
    """A line where slices have no neighbor within the reach of their stack; nothing if all have one.

    Args:
        table: a dataset's, sorted by scan and position.
        slices, stride, edge: as of ``SliceReader``.
    """
    alone = lonely(table, slices=slices, stride=stride, edge=edge)
    if not alone.any():
        return
    reach = slices // 2 * stride
    distance = str(stride) if reach == stride else f"{stride} to {reach}"
    copies = (
        "the other channels are zero" if edge == "zero" else f"the {slices} channels are {slices} copies of one slice"
    )
    if alone.all():
        yield (
            f"warning: input.slices = {slices}, but no slice has a neighbor: no scan has two slices at a distance of "
            f"{distance}, so {copies}"
        )
    else:
        first = str(table["id"].to_numpy()[alone][0])
        yield (
            f"warning: input.slices = {slices}, but {int(alone.sum())} of {len(table)} slices have no neighbor at a "
            f"distance of {distance} in their scan, {first!r} first; there {copies}"
        )
    if table["scan"].nunique() == len(table):
        yield (
            "  every slice is a scan of its own: say what scan and number are in the files' names (dataset.pattern of "
            "a folder), or set input.slices = 1"
        )
