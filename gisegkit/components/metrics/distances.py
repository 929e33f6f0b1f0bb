"""Exact distances between two masks, without comparing every voxel with every other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.spatial import cKDTree

    from gisegkit.types import BoolArray, FloatArray

QUERY, LEAF = 32, 6
"""About how many voxels of a distance transform cost as much as one query of a tree, and as one point in it."""

NEAR_QUERY, NEAR_LEAF = 8, 1
"""The same for surfaces, where the nearest voxel is rarely far."""

BLOCK = 8
"""Edge in voxels of the blocks by which voxels that cannot be the farthest are put aside."""

FIRST_BLOCKS = 4
"""Blocks that are looked into before others are put aside."""

CELL = 2
"""Edge in voxels of the cells of a second sieve, for the voxels of blocks that are left."""

FEW_POINTS, FEW_PAIRS = 1024, 1 << 14
"""Up to so many points a second sieve does not pay, nor where all are near; up to so many pairs neither does a tree."""


def class_boxes(prediction: BoolArray, truth: BoolArray) -> Iterator[tuple[BoolArray, BoolArray]]:
    """Each class's prediction and truth in the smallest box that holds both; empty arrays where both are empty.

    Args:
        prediction: ``[D, H, W, K]``.
        truth: ``[D, H, W, K]``.

    Yields:
        Two masks of one class, of the same shape with three axes.
    """
    lines = _any(prediction, 1) | _any(truth, 1)  # [D, W, K]
    plane = _any(prediction, 0) | _any(truth, 0)  # [H, W, K]
    depths, heights, widths = _any(lines, 1), _any(plane, 1), _any(lines, 0)
    for k in range(prediction.shape[3]):
        d, h, w = _extent(depths[:, k]), _extent(heights[:, k]), _extent(widths[:, k])
        yield prediction[d, h, w, k], truth[d, h, w, k]


def slice_boxes(prediction: BoolArray, truth: BoolArray) -> Iterator[list[tuple[BoolArray, BoolArray]]]:
    """As ``class_boxes`` for the classes of one slice after another, in columns that hold both.

    Yields:
        For each class two masks of the same shape with two axes, without columns where both are empty.
    """
    lines = _any(prediction, 1) | _any(truth, 1)  # [D, W, K]
    for p, t, used in zip(prediction, truth, lines, strict=True):
        columns = [_extent(used[:, k]) for k in range(used.shape[1])]
        yield [(p[:, w, k], t[:, w, k]) for k, w in enumerate(columns)]


def _any(mask: BoolArray, axis: int) -> BoolArray:
    """``mask.any(axis)``, several times faster where the last axis is short."""
    shape = mask.shape[:axis] + mask.shape[axis + 1 :]
    lines = mask.reshape(*mask.shape[: axis + 1], math.prod(mask.shape[axis + 1 :])).view(np.uint8)
    found: BoolArray = np.bitwise_or.reduce(lines, axis=axis).view(np.bool_).reshape(shape)
    return found


def _extent(used: BoolArray) -> slice:
    places = np.flatnonzero(used)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


# --- voxels -----------------------------------------------------------------------------------------------------


def hausdorff(a: BoolArray, b: BoolArray, *, spacing: Sequence[float]) -> float:
    """The symmetric Hausdorff distance: how far the farthest voxel of one mask is from the other mask.

    Distances run between voxel centers and count every voxel, not surfaces only, so that a solid inside another is
    exact too. Equal to ``scipy.spatial.distance.directed_hausdorff`` in both directions on all voxels.

    Args:
        a: mask ``[H, W]`` or ``[D, H, W]``.
        b: mask of the same shape.
        spacing: distance between neighboring voxels, one number above 0 an axis; ``1 / size`` an axis gives
            distances in a cube of side 1.

    Returns:
        The distance in units of the spacing; NaN if both masks are empty, infinity if one is.

    Raises:
        DataError: if the shapes differ or the spacing does not fit them.
    """
    a, b = _in_their_box(a, b, spacing)
    if not a.any() or not b.any():
        return math.inf if a.any() or b.any() else math.nan
    scale = np.asarray(spacing, dtype=np.float64)
    return _farthest(b, a, scale, floor=_farthest(a, b, scale, floor=0.0))


def _in_their_box(a: BoolArray, b: BoolArray, spacing: Sequence[float]) -> tuple[BoolArray, BoolArray]:
    """Both masks in the smallest box that holds them, one voxel after another in memory."""
    if a.shape != b.shape or len(spacing) != a.ndim:
        raise DataError(f"distance between masks of shapes {a.shape} and {b.shape} with spacing {tuple(spacing)}")
    box = tuple(_box(a | b))
    return np.ascontiguousarray(a[box]), np.ascontiguousarray(b[box])


def _box(mask: BoolArray) -> Iterator[slice]:
    """Where a mask begins and ends along each axis."""
    while mask.ndim > 1:
        yield _extent(np.asarray(mask.reshape(len(mask), math.prod(mask.shape[1:])).any(axis=1)))
        mask = _any(mask, 0)
    yield _extent(mask)


def _farthest(source: BoolArray, target: BoolArray, scale: FloatArray, *, floor: float) -> float:
    """The largest distance of a source voxel to its nearest target voxel, or the floor where that is larger."""
    outside = source & ~target  # the other source voxels are at distance 0
    if not outside.any():
        return floor
    # The target voxel nearest to a voxel outside lies on the target's rim: from one inside, a step leads nearer.
    rim = _points(_rim(target))
    if LEAF * len(rim) > target.size:
        return max(floor, _farthest_by_transform(outside, target, scale))
    from scipy.spatial import cKDTree  # here as below: a recipe is checked without it

    tree = cKDTree(rim * scale, balanced_tree=False, compact_nodes=False)
    blocks = _Blocks(outside, tree, scale)
    while len(points := blocks.farther_than(floor)):
        if QUERY * len(points) > target.size:
            return max(floor, _farthest_by_transform(outside, target, scale))
        floor = max(floor, float(_nearest(tree, points * scale).max()))
    return floor


class _Blocks:
    """The voxels of a mask in blocks, those that may be farthest from a target first.

    Every voxel of a block is as far from the target as the block's center, give or take its distance to the center. So
    a block need not be looked into once another one holds a voxel that is farther than any of its own can be.
    """

    def __init__(self, mask: BoolArray, tree: cKDTree, scale: FloatArray) -> None:
        self._tree, self._scale = tree, scale
        counts = [-(-size // BLOCK) for size in mask.shape]
        padded = np.zeros([count * BLOCK for count in counts], dtype=np.bool_)
        padded[tuple(slice(size) for size in mask.shape)] = mask
        used = cut = padded.reshape([size for count in counts for size in (count, BLOCK)])
        for axis in range(1, mask.ndim + 1):  # each time the next axis of voxels goes
            used = _any(used, axis)
        self._voxels = cut.transpose([*range(0, cut.ndim, 2), *range(1, cut.ndim, 2)])
        places = np.argwhere(used)
        reach = self._reach(BLOCK)
        limits = _nearest(tree, (places * BLOCK + (BLOCK - 1) / 2) * scale) + reach
        order = np.argsort(-limits)
        self._limits, self._places = limits[order], places[order]
        self._next, self._count = 0, FIRST_BLOCKS

    def farther_than(self, floor: float) -> FloatArray:
        """``[N, axes]``, voxels of the next blocks; none where no voxel that is left can be farther than the floor."""
        while self._next < (stop := int(np.searchsorted(-self._limits, -floor))):
            places = self._places[self._next : min(self._next + self._count, stop)]
            self._next += len(places)
            self._count *= 8  # the first few raise the floor, so that there is less to look into
            inside = np.argwhere(self._voxels[tuple(places.T)])  # number of the block, then the place in it
            points = places[inside[:, 0]] * BLOCK + inside[:, 1:]
            if len(points) > FEW_POINTS and floor > 4 * self._reach(CELL):
                points = self._sieved(points, floor)
            if len(points):
                return points.astype(np.float64)
        return np.empty((0, len(self._scale)))

    def _sieved(self, points: NDArray[np.int64], floor: float) -> NDArray[np.int64]:
        """Those in cells that may hold the farthest, which are smaller than blocks."""
        keys = np.ravel_multi_index(
            tuple((points // CELL).T), [-(-extent // CELL) for extent in points.max(axis=0) + 1]
        )
        first, cell_of = np.unique(keys, return_index=True, return_inverse=True)[1:]
        centers = points[first] // CELL * CELL + (CELL - 1) / 2
        distances, reach = _nearest(self._tree, centers * self._scale), self._reach(CELL)
        floor = max(floor, float(distances.max()) - reach)
        kept: NDArray[np.int64] = points[(distances + reach >= floor)[cell_of]]
        return kept

    def _reach(self, edge: int) -> float:
        """From the center of a block to its farthest voxel, and a little more for rounding."""
        return float(np.linalg.norm((edge - 1) / 2 * self._scale)) * (1 + 1e-9)


def _farthest_by_transform(outside: BoolArray, target: BoolArray, scale: FloatArray) -> float:
    """Takes the same time however much differs."""
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(~target, sampling=scale, return_distances=False, return_indices=True)
    squares = np.zeros(np.count_nonzero(outside))
    for axis, positions in enumerate(np.nonzero(outside)):
        squares += ((positions - nearest[axis][outside]) * scale[axis]) ** 2
    return math.sqrt(float(squares.max()))


def _nearest(tree: cKDTree, points: FloatArray) -> FloatArray:
    """``[N]``: how far each point is from the tree's nearest one."""
    return np.asarray(tree.query(points)[0])


def _points(mask: BoolArray) -> FloatArray:
    """``[N, axes]`` float64: the voxels of a mask, in voxels."""
    flat = np.flatnonzero(mask)
    points = np.empty((len(flat), mask.ndim))
    for axis, places in enumerate(np.unravel_index(flat, mask.shape)):
        points[:, axis] = places
    return points


# --- surfaces ---------------------------------------------------------------------------------------------------


def surface_distances(a: BoolArray, b: BoolArray, *, spacing: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """How far each voxel of one mask's surface is from the other mask's surface, both ways.

    The surface are the voxels with a neighbor (4 in a plane, 6 in space; corners do not count) outside the mask;
    outside the image is outside the mask.

    Args:
        a: mask ``[H, W]`` or ``[D, H, W]``.
        b: mask of the same shape.
        spacing: distance between neighboring voxels, one number above 0 an axis.

    Returns:
        ``[N]`` of a's surface voxels to b's surface, ``[M]`` of b's to a's, in units of the spacing; infinite where
        there is no other surface.

    Raises:
        DataError: if the shapes differ or the spacing does not fit them.
    """
    a, b = _in_their_box(a, b, spacing)
    rims = _rim(a), _rim(b)
    scale = np.asarray(spacing, dtype=np.float64)
    points = [_points(rim) * scale for rim in rims]
    return _to_surface(rims[0], rims[1], points, scale), _to_surface(rims[1], rims[0], points[::-1], scale)


def _to_surface(source: BoolArray, target: BoolArray, points: Sequence[FloatArray], scale: FloatArray) -> FloatArray:
    """``[N]``: distances of the source's points to the target's; 0 where the masks coincide."""
    from scipy import ndimage
    from scipy.spatial import cKDTree
    from scipy.spatial.distance import cdist

    apart = ~target[source]
    distances = np.zeros(len(apart))
    if not len(points[1]):
        distances[:] = math.inf
    elif (count := int(np.count_nonzero(apart))) and count * len(points[1]) <= FEW_PAIRS:
        distances[apart] = np.sqrt(cdist(points[0][apart], points[1], "sqeuclidean").min(axis=1))
    elif NEAR_QUERY * count + NEAR_LEAF * len(points[1]) > target.size:  # noise, such as before training
        distances[:] = ndimage.distance_transform_edt(~target, sampling=scale)[source]
    elif count:
        tree = cKDTree(points[1], balanced_tree=False, compact_nodes=False)
        distances[apart] = _nearest(tree, points[0][apart])
    return distances


def _rim(mask: BoolArray) -> BoolArray:
    """The voxels with a neighbor along an axis that is not in the mask, or beyond the array."""
    center = (slice(1, -1),) * mask.ndim
    inner = mask[center].copy()
    for axis in range(mask.ndim):
        for side in (slice(2, None), slice(None, -2)):
            inner &= mask[(*center[:axis], side, *center[axis + 1 :])]
    rim = mask.copy()
    rim[center] &= ~inner
    return rim
