"""A gate: classes are emptied in the slices where another predictor does not see enough of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from gisegkit.engine.decision import DecidedSlice
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities
from gisegkit.types import BoolArray


def seen_pixels(slices: Generator[DecidedSlice]) -> dict[int, NDArray[np.int64]]:
    """Of each slice, by its row, how many pixels of each class ``[K]`` were decided at native size."""
    found = {}
    with closing(slices):
        for item in slices:
            found[item.row] = item.prediction.sum(axis=(0, 1), dtype=np.int64)
            del item  # else it would live until the next one is predicted
    return found


def gated_scans(scans: Generator[ScanProbabilities], open_to: Mapping[int, BoolArray]) -> Generator[ScanProbabilities]:
    """The scans, one slice at a time; the probabilities of a class that a slice is not open to are 0.

    With exclusive classes they are added to the background's, which is what is left of 1.

    Args:
        open_to: ``[K]`` of each slice, by its row.
    """
    with closing(scans):
        for scan in scans:
            passing = ScanProbabilities(scan.name, scan.rows, _emptied(scan, open_to))
            yield passing
            passing.skip()
            del scan, passing


def _emptied(scan: ScanProbabilities, open_to: Mapping[int, BoolArray]) -> Iterator[SliceProbabilities]:
    for item in scan:
        keeps = open_to[item.row]
        if not keeps.all():
            item = item._replace(values=np.where(keeps, item.values, np.float32(0)))
        yield item
        del item
