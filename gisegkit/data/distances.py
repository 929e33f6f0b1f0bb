"""The exact Hausdorff distance between two masks, without comparing every voxel with every other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import BoolArray

TREE_GAIN = 32
"""About how many voxels of a distance transform cost as much as one query of a tree (measured: 30 to 40)."""


def hausdorff(a: BoolArray, b: BoolArray, *, spacing: Sequence[float]) -> float:
    """The symmetric Hausdorff distance: how far the farthest voxel of one mask is from the other mask.

    Distances run between voxel centres and count every voxel, not surfaces only, so that a solid inside another is
    exact too. Equal to ``scipy.spatial.distance.directed_hausdorff`` in both directions on all voxels.

    Args:
        a: mask ``[H, W]`` or ``[D, H, W]``.
        b: mask of the same shape.
        spacing: distance between neighbouring voxels, one number above 0 an axis; ``1 / size`` an axis gives
            distances in a cube of side 1.

    Returns:
        The distance in units of the spacing; NaN if both masks are empty, infinity if one is.

    Raises:
        DataError: if the shapes differ or the spacing does not fit them.
    """
    if a.shape != b.shape or len(spacing) != a.ndim:
        raise DataError(f"distance between masks of shapes {a.shape} and {b.shape} with spacing {tuple(spacing)}")
    both = a | b
    if not both.any():
        return math.nan
    box = _bounding_box(both)
    a, b = a[box], b[box]
    if not a.any() or not b.any():
        return math.inf
    return max(_farthest(a, b, spacing), _farthest(b, a, spacing))


def _bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    """The smallest box that holds every voxel of a mask that has some."""
    box = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _farthest(source: BoolArray, target: BoolArray, spacing: Sequence[float]) -> float:
    """The largest distance of a source voxel to its nearest target voxel; neither is empty."""
    outside = source & ~target  # the other source voxels are at distance 0
    if not outside.any():
        return 0.0
    # The target voxel nearest to a voxel outside lies on the target's rim: from one inside, a step leads nearer.
    rim = target & ~ndimage.binary_erosion(target)
    if TREE_GAIN * (np.count_nonzero(outside) + np.count_nonzero(rim)) < target.size:
        return _farthest_by_tree(outside, rim, spacing)
    return _farthest_by_transform(outside, target, spacing)


def _farthest_by_tree(outside: BoolArray, rim: BoolArray, spacing: Sequence[float]) -> float:
    """Fast where few voxels differ, as between a good prediction and the truth."""
    scale = np.asarray(spacing, dtype=np.float64)
    distances, _ = cKDTree(np.argwhere(rim) * scale).query(np.argwhere(outside) * scale)
    return float(np.max(distances))


def _farthest_by_transform(outside: BoolArray, target: BoolArray, spacing: Sequence[float]) -> float:
    """Takes the same time however much differs."""
    nearest = ndimage.distance_transform_edt(
        ~target, sampling=tuple(spacing), return_distances=False, return_indices=True
    )
    squares = np.zeros(np.count_nonzero(outside))
    for axis, positions in enumerate(np.nonzero(outside)):
        squares += ((positions - nearest[axis][outside]) * spacing[axis]) ** 2
    return math.sqrt(float(squares.max()))
