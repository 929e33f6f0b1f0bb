"""Phantom scans with predictions to score, for the benchmarks of metrics and run lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from gisegkit.data.phantom.scan import Scan

if TYPE_CHECKING:
    from gisegkit.types import BoolArray

SLICES = 144


def truths(count: int, *, seed: int = 0) -> Iterator[BoolArray]:
    """``[144, 266, 266, 3]`` each: the phantom's cases of odd numbers, which have that size."""
    for case in range(1, 2 * count, 2):
        scan = Scan(seed=seed, case=case, day=0, slices=SLICES)
        yield np.stack([scan.draw(position)[1] for position in range(SLICES)])


def with_large_errors(truth: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Each class moved by up to 20 pixels and 8 slices, and with a blob of 4 to 12 pixels radius far from it."""
    prediction = np.zeros_like(truth)
    z, y, x = np.ogrid[tuple(slice(size) for size in truth.shape[:3])]
    for k in range(truth.shape[3]):
        shift = (int(rng.integers(-8, 9)), *(int(step) for step in rng.integers(-20, 21, 2)))
        prediction[..., k] = np.roll(truth[..., k], shift, axis=(0, 1, 2))
        at, radius = rng.integers((10, 60, 60), (130, 200, 200)), rng.integers(4, 13)
        prediction[..., k] |= (2 * (z - at[0])) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < radius**2
    return prediction


def with_mild_errors(truth: BoolArray, rng: np.random.Generator) -> BoolArray:
    """A tenth of the voxels within 2 of each class's border, inside and outside, are the other way round."""
    prediction = truth.copy()
    for k in range(truth.shape[3]):
        solid = truth[..., k]
        band = ndimage.binary_dilation(solid, iterations=2) & ~ndimage.binary_erosion(solid, iterations=2)
        prediction[..., k] ^= band & (rng.random(solid.shape) < 0.1)
    return prediction
