"""Masks to run lengths and back, over the loops of the public notebooks and over pycocotools.

    python benchmarks/rle.py

One thread. The masks are those of two phantom scans of 144 slices: the three classes of every slice that shows one. A
submission has a row for each of them, so all are encoded; only those with a text are decoded, since notebooks leave the
others out. A third set is ragged: of each mask in the first a third of its pixels is taken out at random.

The sides do not do the same. gisegkit and the notebook write the competition's text, decimal and row by row;
pycocotools writes its own compressed bytes, which no submission takes, column by column. It gets the easier part in
this: its masks are in its own order in memory, so that it copies nothing, and its bytes are never turned into text.
gisegkit alone checks what it decodes. Before anything is measured the three must agree.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from harness import Row, by_turns, compare, save
from pycocotools import mask as coco

from gisegkit.data import rle
from gisegkit.data.phantom.scan import Scan

SLICES = 144
REPETITIONS = 15
KEPT = 0.67
"""Share of the pixels that a ragged mask keeps."""
MISS = (
    "one mask by itself takes the notebook's loop little: two calls of numpy, one that reads the numbers and one that "
    "fills the mask, take a fifth of that already; checking the text, which the notebook does not, and a dozen small "
    "calls as much again. giseg reads the masks of several slices, or the classes of one, in a call"
)
CALL = 24
ALL = f"decode, {CALL} masks a call"
"""As ``giseg score`` reads a scan: three classes of 8 slices."""


def notebook_encode(mask: np.ndarray) -> str:
    """The notebooks' way to a text."""
    pixels = np.concatenate([[0], mask.flatten(), [0]])
    edges = np.where(pixels[1:] != pixels[:-1])[0] + 1
    edges[1::2] -= edges[::2]
    return " ".join(str(number) for number in edges)


def notebook_decode(text: str, shape: tuple[int, int]) -> np.ndarray:
    """The notebooks' way back: a loop over runs."""
    numbers = np.asarray(text.split(), dtype=int)
    starts = numbers[0::2] - 1
    flat = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    for start, end in zip(starts, starts + numbers[1::2], strict=True):
        flat[start:end] = 1
    return flat.reshape(shape)


def scan_masks(case: int) -> list[np.ndarray]:
    """The masks ``[H, W]`` bool of every slice that shows a class, class by class; some are empty."""
    scan = Scan(seed=0, case=case, day=0, slices=SLICES)
    drawn = (scan.draw(position)[1] for position in range(SLICES))
    return [np.ascontiguousarray(masks[:, :, k]) for masks in drawn if masks.any() for k in range(masks.shape[2])]


def per_mask(call: Callable[[Any], object], values: Sequence[Any]) -> Callable[[], float]:
    """Microseconds that a call takes on average; each mask is copied before, outside the clock, as if just made."""

    def measure() -> float:
        seconds = 0.0
        for value in values:
            fresh = value.copy(order="K") if isinstance(value, np.ndarray) else value
            start = time.perf_counter()
            call(fresh)
            seconds += time.perf_counter() - start
        return seconds / len(values) * 1e6

    return measure


def by_calls(call: Callable[[Any], object], values: Sequence[Any]) -> Callable[[], float]:
    """Microseconds a mask of calls with CALL masks each."""

    def measure() -> float:
        start = time.perf_counter()
        for first in range(0, len(values), CALL):
            call(values[first : first + CALL])
        return (time.perf_counter() - start) / len(values) * 1e6

    return measure


def rows_of(name: str, masks: list[np.ndarray]) -> list[Row]:
    """Encoding and decoding of some masks, over both others."""
    height, width = masks[0].shape
    bytes_ = [mask.astype(np.uint8) for mask in masks]
    in_columns = [np.asfortranarray(mask) for mask in bytes_]
    texts = [text for text in map(rle.encode, masks) if text]
    packed = [coco.encode(mask) for mask, one in zip(in_columns, masks, strict=True) if one.any()]
    filled = [mask for mask in masks if mask.any()]
    ours = {"decode": lambda text: rle.decode(text, height=height, width=width)}
    theirs = {"decode": lambda text: notebook_decode(text, (height, width))}
    assert np.array_equal(rle.decode_all(texts, height=height, width=width), filled)
    assert texts == [notebook_encode(mask) for mask in bytes_ if mask.any()]
    for mask, text, counts in zip(filled, texts, packed, strict=True):
        for found in (ours["decode"](text), theirs["decode"](text), coco.decode(counts)):
            assert np.array_equal(found, mask)
    sides = {
        "encode": {
            "gisegkit": per_mask(rle.encode, masks),
            "notebook's loop": per_mask(notebook_encode, bytes_),
            "pycocotools": per_mask(coco.encode, in_columns),
        },
        "decode": {
            "gisegkit": per_mask(ours["decode"], texts),
            "notebook's loop": per_mask(theirs["decode"], texts),
            "pycocotools": per_mask(coco.decode, packed),
        },
        ALL: {
            "gisegkit": by_calls(lambda some: rle.decode_all(some, height=height, width=width), texts),
            "notebook's loop": by_calls(lambda some: [theirs["decode"](text) for text in some], texts),
            "pycocotools": by_calls(coco.decode, packed),
        },
    }
    runs = sum(len(text.split()) for text in texts) / 2 / len(texts)
    about = {
        "encode": f"{len(masks)} masks, {len(masks) - len(filled)} of them empty",
        "decode": f"{runs:.0f} runs a mask",
        ALL: f"{runs:.0f} runs a mask",
    }
    rows = []
    for what, measures in sides.items():
        measured = by_turns(measures, repetitions=REPETITIONS)
        for baseline, target in (("notebook's loop", 5), ("pycocotools", 1)):
            row = compare(
                f"{what}, {name} ({about[what]})",
                measured,
                ours="gisegkit",
                baseline=baseline,
                unit="µs",
                higher_is_better=False,
                target=target,
            )
            rows.append(dataclasses.replace(row, note=MISS) if what == "decode" and not row.met else row)
    return rows


def main() -> None:
    """Measure and save."""
    rng = np.random.default_rng(0)
    square, wide = scan_masks(1), scan_masks(2)
    ragged = [mask & (rng.random(mask.shape) < KEPT) for mask in square]
    sets = {"266 x 266": square, "310 x 360": wide, "266 x 266, ragged": ragged}
    save(
        "rle",
        "Run lengths are written and read without a Python loop over runs.",
        [row for name, masks in sets.items() for row in rows_of(name, masks)],
        packages=("numpy", "pycocotools"),
        settings={"device": "cpu", "threads": 1, "slices": SLICES, "repetitions": REPETITIONS, "seed": 0},
    )


if __name__ == "__main__":
    main()
