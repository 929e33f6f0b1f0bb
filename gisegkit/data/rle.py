"""Run-length encoded masks in the convention of the competition's data: row-major, 1-based.

A mask is text, pairs "start length" separated by blanks. Pixels count from 1 at the top left, along the row to the
right, then down. The competition's text says "top to bottom, then left to right"; its masks are whole only when they
are read along the rows, which is what the organizers' own code does. A run may go past the end of a row, and two runs
may touch; touching runs come back merged.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gisegkit.types import AnyArray, BoolArray

_NUMBERS = re.compile(r"\s*+(?:-?0*\d{1,18}+(?:\s++|$))*+", re.ASCII)

TABLE_BITS = 20
"""Bits of the largest number whose text is looked up instead of being made; that table takes 8 MiB."""


def encode(mask: AnyArray) -> str:
    """The runs of a mask as text; an empty mask is an empty string.

    Args:
        mask: ``[H, W]`` bool, or integers of which everything but 0 belongs to the mask.

    Raises:
        DataError: if the mask has another number of axes.
    """
    if mask.ndim != 2:
        raise DataError(f"a mask to encode has the axes [H, W]; this one has the shape {mask.shape}")
    flat = mask.ravel() if mask.dtype == bool else (mask != 0).ravel()
    content = flat.tobytes()
    first, stop = content.find(1), content.rfind(1) + 1
    if first < 0:
        return ""
    padded = np.zeros(stop - first + 2, dtype=bool)
    padded[1:-1] = flat[first:stop]
    edges = (padded[1:] != padded[:-1]).nonzero()[0]  # starts and ends by turns
    starts, ends = edges[::2], edges[1::2]
    ends -= starts
    starts += first + 1
    bits = mask.size.bit_length()
    if bits > TABLE_BITS:
        return " ".join(map(str, edges.tolist()))
    letters: bytes = _words(bits).take(edges).tobytes()
    return letters.translate(None, b"\0")[:-1].decode()


@functools.cache
def _words(bits: int) -> NDArray[np.uint64]:
    """``[2 ** bits]``: of each number the digits and a blank, in 8 bytes, those in front being zero."""
    numbers = np.arange(1 << bits)
    letters = np.zeros((len(numbers), 8), dtype=np.uint8)
    letters[:, 7] = ord(" ")
    for place in range(7):
        power = 10**place
        letters[power:, 6 - place] = ord("0") + numbers[power:] // power % 10
    return letters.view(np.uint64)[:, 0]


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
    mask: BoolArray = decode_all([text], height=height, width=width, places=[place])[0]
    return mask


def decode_all(texts: Sequence[object], *, height: int, width: int, places: Sequence[str] = ()) -> BoolArray:
    """The masks of several texts, such as the classes of a slice, which takes half the time of one after another.

    Args:
        texts: N texts, each as in ``decode``.
        height: H of the image, pixels.
        width: W of the image, pixels.
        places: where each text comes from, for the message.

    Returns:
        ``[N, H, W]`` bool.

    Raises:
        DataError: as ``decode``, with every text that is refused, a line each.
    """
    if not len(texts):
        return np.zeros((0, height, width), dtype=bool)
    lengths = _stretches(texts, height * width)
    if lengths is None:
        lengths = _stretches(_plain(texts, height, width, places), height * width)
        assert lengths is not None, "what is plain is read at once"
    turns = np.frombuffer(b"\0\1" * (len(lengths) // 2) + b"\0", dtype=bool)
    masks: BoolArray = turns.repeat(lengths).reshape(len(texts), height, width)
    return masks


def _stretches(texts: Sequence[object], pixels: int) -> NDArray[np.int64] | None:
    """How long the masks, one after another, stay out and in by turns; None for texts that need a closer look.

    Each image but the last is closed by a run of length 0 after its last pixel. What is not None is right: there are
    digits and blanks alone, as many numbers as there are blanks between, no length of 0 but those that close an image,
    and all stretches lie between 0 and ``pixels``, so that no number is larger (one that is too long is read as
    2 ** 63 - 1).
    """
    try:
        joined = f" {pixels + 1} 0 ".join(texts)  # type: ignore[arg-type]
    except TypeError:  # one of them is no text
        return None
    if joined.encode().translate(None, b"0123456789 "):
        return None
    starts = [text.count(" ") // 2 + 2 if text else 1 for text in texts]  # type: ignore[attr-defined]
    numbers = np.fromstring(f"1 {joined} {pixels + 1}", dtype=np.int64, sep=" ")
    if len(numbers) != 2 * sum(starts) or np.count_nonzero(numbers[2::2]) != len(numbers) // 2 - len(texts):
        return None
    first, ends = numbers[1::2], numbers[2::2]  # of runs; the ends are lengths until the starts are added
    if len(texts) > 1:
        first += (np.arange(len(texts)) * pixels).repeat(starts)
    ends += first[:-1]
    lengths: NDArray[np.int64] = numbers[1:] - numbers[:-1]
    return lengths if np.maximum.reduce(lengths.view(np.uint64)) <= pixels else None  # one below 0 is a large one


def _plain(texts: Sequence[object], height: int, width: int, places: Sequence[str]) -> list[str]:
    """The texts as ``encode`` would write their runs; refuses those that are not right, all at once."""
    plain, problems = [], []
    for text, place in zip(texts, places or [""] * len(texts), strict=True):
        try:
            pairs = runs(text, place=place)
            _refuse_beyond(pairs, height, width, place)
            plain.append(" ".join(map(str, pairs.reshape(-1).tolist())))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return plain


def _refuse_beyond(pairs: NDArray[np.int64], height: int, width: int, place: str) -> None:
    pixels = height * width
    ends = pairs.sum(axis=1) - 1
    if len(ends) and ends[-1] > pixels:
        late = int(np.argmax(ends > pixels))
        run = f"{pairs[late, 0]} {pairs[late, 1]}"
        reason = f"the run {run!r} ends at pixel {ends[late]}, but {height} rows of {width} columns have {pixels}"
        raise _refusal(place, reason + _start_end(pairs))


def _start_end(pairs: NDArray[np.int64]) -> str:
    """A hint where runs that are refused would be right if each pair were a start and an end."""
    if (pairs[:, 1] < pairs[:, 0]).any() or (pairs[1:, 0] <= pairs[:-1, 1]).any():
        return ""
    return "; the values look like pairs of start and end, and a run is a start and a length"


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
    if not text.strip(" \t\n\r\f\v"):
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
    _refuse_any(overlapping, pairs, place, f"overlaps the run in front of it{_start_end(pairs)}")
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
