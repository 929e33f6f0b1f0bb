"""Run-length encoded masks in the convention of the competition's data: row-major, 1-based.

A mask is text, pairs "start length" separated by blanks. Pixels count from 1 at the top left, along the row to the
right, then down. The competition's text says "top to bottom, then left to right"; its masks are whole only when they
are read along the rows, which is what the organisers' own code does. A run may go past the end of a row, and two runs
may touch; touching runs come back merged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.types import AnyArray, BoolArray

_NUMBERS = re.compile(r"\s*(?:-?\d{1,18}(?:\s+|$))*", re.ASCII)


def encode(mask: AnyArray) -> str:
    """The runs of a mask as text; an empty mask is an empty string.

    Args:
        mask: ``[H, W]`` bool, or integers of which everything but 0 belongs to the mask.

    Raises:
        DataError: if the mask has another number of axes.
    """
    if mask.ndim != 2:
        raise DataError(f"a mask to encode has the axes [H, W]; this one has the shape {mask.shape}")
    padded = np.zeros(mask.size + 2, dtype=np.int8)
    padded[1:-1] = mask.reshape(-1) != 0
    edges = np.flatnonzero(np.diff(padded))  # starts and ends by turns
    edges[1::2] -= edges[::2]
    edges[::2] += 1
    return " ".join(map(str, edges.tolist()))


def decode(text: object, *, height: int, width: int, place: str = "") -> BoolArray:
    """The mask of a text of runs.

    Args:
        text: the runs; empty, or NaN as pandas reads an empty field, is the empty mask.
        height: H of the image, pixels.
        width: W of the image, pixels.
        place: where the text comes from (file and row), for the message.

    Returns:
        ``[H, W]`` bool.

    Raises:
        DataError: as ``runs``, or when a run ends beyond the image.
    """
    pairs = runs(text, place=place)
    starts = pairs[:, 0] - 1  # [R], 0-based
    ends = starts + pairs[:, 1]
    pixels = height * width
    if len(ends) and ends[-1] > pixels:
        late = int(np.argmax(ends > pixels))
        run = f"{pairs[late, 0]} {pairs[late, 1]}"
        raise _refusal(
            place,
            f"the run {run!r} ends at pixel {ends[late]}, but {height} rows of {width} columns have {pixels}",
        )
    steps = np.zeros(pixels + 1, dtype=np.int8)
    steps[starts] += 1  # no start occurs twice, and no end; where two runs touch, both count
    steps[ends] -= 1
    mask: BoolArray = np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(height, width)
    return mask


def runs(text: object, *, place: str = "") -> NDArray[np.int64]:
    """The runs of a text, checked against everything but the image's size.

    Args:
        text: the runs; empty or NaN is no run.
        place: where the text comes from (file and row), for the message.

    Returns:
        ``[R, 2]`` int64: start (1-based) and length, pixels, in rising order and without overlap.

    Raises:
        DataError: for a value that is no whole number, an odd number of values, a start or length below 1, runs out
            of order, or runs that overlap; the message names the place and the run.
    """
    text = text if isinstance(text, str) else _text_of_missing(text, place)
    if not text.strip():
        return np.empty((0, 2), dtype=np.int64)
    if not _NUMBERS.fullmatch(text):
        strange = next((word for word in text.split() if not _NUMBERS.fullmatch(word)), text)
        raise _refusal(place, f"{strange!r} is not a whole number of at most 18 digits")
    values = np.fromstring(text, dtype=np.int64, sep=" ")
    if len(values) % 2:
        raise _refusal(place, f"{len(values)} values; runs are pairs of start and length, so their number is even")
    pairs = values.reshape(-1, 2)
    starts, lengths = pairs[:, 0], pairs[:, 1]
    _refuse_any(starts < 1, pairs, place, "starts before the first pixel, which is 1")
    _refuse_any(lengths < 1, pairs, place, "has a length below 1")
    before = starts[:-1] + lengths[:-1]  # [R - 1], the first pixel after each run
    unsorted = np.concatenate([[False], starts[1:] < starts[:-1]])[: len(pairs)]
    _refuse_any(unsorted, pairs, place, "starts before the run in front of it; runs are sorted by start")
    overlapping = np.concatenate([[False], starts[1:] < before])[: len(pairs)]
    _refuse_any(overlapping, pairs, place, "overlaps the run in front of it")
    return pairs


def _text_of_missing(value: object, place: str) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    raise _refusal(place, f"{value!r} is no text of runs")


def _refuse_any(bad: BoolArray, pairs: NDArray[np.int64], place: str, reason: str) -> None:
    if bad.any():
        number = int(np.argmax(bad))
        raise _refusal(place, f"run {number + 1}, {f'{pairs[number, 0]} {pairs[number, 1]}'!r}, {reason}")


def _refusal(place: str, reason: str) -> DataError:
    return DataError(f"{place}: {reason}" if place else f"run-length text: {reason}")
