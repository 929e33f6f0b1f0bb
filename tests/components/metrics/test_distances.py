"""gisegkit.components.metrics.distances against brute force over all pairs of voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist, directed_hausdorff

from gisegkit.components.metrics import distances
from gisegkit.components.metrics.distances import hausdorff, surface_distances
from gisegkit.errors import DataError


def brute_force(a, b, spacing):
    pairs = cdist(np.argwhere(a) * np.asarray(spacing), np.argwhere(b) * np.asarray(spacing))
    return max(pairs.min(axis=1).max(), pairs.min(axis=0).max())


@st.composite
def pairs(draw):
    shape = draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    spacing = draw(st.lists(st.floats(0.01, 3), min_size=len(shape), max_size=len(shape)))
    share = draw(st.sampled_from([0.02, 0.3, 0.9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    a, b = rng.random(shape) < share, rng.random(shape) < draw(st.sampled_from([0.02, 0.5]))
    if draw(st.booleans()):  # nested
        b &= a
    a.flat[rng.integers(a.size)] = True
    b.flat[rng.integers(b.size)] = True
    return a, b, spacing


@settings(max_examples=200, deadline=None)
@given(
    pairs(),
    st.sampled_from([{"LEAF": 10**9}, {"QUERY": 10**9}, {"LEAF": 0, "QUERY": 0}]),
    st.fixed_dictionaries({"BLOCK": st.integers(2, 5), "CELL": st.integers(1, 3), "FIRST_BLOCKS": st.integers(1, 3)}),
    st.sampled_from([0, 1000]),
)
@pytest.mark.slow
def test_equals_brute_force_by_every_method(pair, limits, sieves, few):
    a, b, spacing = pair
    with pytest.MonkeyPatch.context() as patch:  # the transform at once, the transform after all, the tree
        for name, value in {**limits, **sieves, "FEW_POINTS": few}.items():
            patch.setattr(distances, name, value)
        assert hausdorff(a, b, spacing=spacing) == pytest.approx(brute_force(a, b, spacing), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(
    pairs(), st.sampled_from([{"NEAR_QUERY": 10**9}, {"NEAR_QUERY": 0, "NEAR_LEAF": 0}]), st.sampled_from([0, 10**6])
)
def test_surface_distances_are_the_same_by_every_method(pair, limits, few):
    a, b, spacing = pair
    surfaces = [np.argwhere(mask & ~shrunk(mask)) * np.asarray(spacing) for mask in (a, b)]
    between = cdist(*surfaces)
    with pytest.MonkeyPatch.context() as patch:  # the transform, the tree, all pairs
        for name, value in {**limits, "FEW_PAIRS": few}.items():
            patch.setattr(distances, name, value)
        forth, back = surface_distances(a, b, spacing=spacing)
    np.testing.assert_allclose(forth, between.min(axis=1), atol=1e-9)
    np.testing.assert_allclose(back, between.min(axis=0), atol=1e-9)


def shrunk(mask):
    """Voxels all of whose neighbors along the axes are in the mask, the array's border not counting as such."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis=axis)[(slice(1, -1),) * mask.ndim]
    return inner


@settings(max_examples=50, deadline=None)
@given(arrays(bool, (3, 5, 4)), arrays(bool, (3, 5, 4)))
def test_symmetric_and_zero_only_for_equal_masks(a, b):
    forth, back = hausdorff(a, b, spacing=(1, 1, 1)), hausdorff(b, a, spacing=(1, 1, 1))
    assert forth == back or (math.isnan(forth) and math.isnan(back))
    if a.any() and b.any():
        assert (forth == 0) == np.array_equal(a, b)


def ellipsoid(shape, center, radii):
    grids = np.ogrid[tuple(slice(n) for n in shape)]
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grids, center, radii, strict=True)) < 1


@pytest.mark.parametrize("case", ["shifted", "nested", "hollow", "far", "touching borders", "single voxels"])
def test_equals_scipy_on_solids(case):
    shape = (14, 40, 52)
    spacing = tuple(1 / n for n in shape)
    a = ellipsoid(shape, (7, 20, 26), (5, 12, 15))
    if case == "shifted":
        b = ellipsoid(shape, (8, 22, 25), (5, 12, 15))
    elif case == "nested":
        b = ellipsoid(shape, (7, 20, 26), (2, 5, 6))
    elif case == "hollow":  # the farthest voxel of a is its center, which no surface of a holds
        b = a & ~ellipsoid(shape, (7, 20, 26), (4, 11, 14))
    elif case == "far":
        b = ellipsoid(shape, (0, 0, 0), (2, 3, 3))
    elif case == "touching borders":
        a = np.ones(shape, dtype=bool)
        b = ellipsoid(shape, (0, 0, 51), (5, 30, 20))
    else:
        a, b = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        a[0, 0, 0] = b[-1, -1, -1] = True
    points = [np.argwhere(mask) * np.array(spacing) for mask in (a, b)]
    expected = max(directed_hausdorff(points[0], points[1])[0], directed_hausdorff(points[1], points[0])[0])
    assert hausdorff(a, b, spacing=spacing) == pytest.approx(expected, abs=1e-9)


def test_hand_derived():
    a, b = np.zeros((3, 4), dtype=bool), np.zeros((3, 4), dtype=bool)
    a[0, 0] = b[2, 3] = True
    assert hausdorff(a, b, spacing=(1, 1)) == pytest.approx(math.sqrt(2**2 + 3**2))
    assert hausdorff(a, b, spacing=(10, 1)) == pytest.approx(math.sqrt(20**2 + 3**2))


def test_empty_masks():
    empty, full = np.zeros((2, 3, 4), dtype=bool), np.ones((2, 3, 4), dtype=bool)
    assert math.isnan(hausdorff(empty, empty, spacing=(1, 1, 1)))
    assert hausdorff(empty, full, spacing=(1, 1, 1)) == math.inf
    assert hausdorff(full, empty, spacing=(1, 1, 1)) == math.inf


def test_refuses_other_shapes_and_names_them():
    with pytest.raises(DataError, match=r"\(2, 3\) and \(3, 2\)"):
        hausdorff(np.ones((2, 3), dtype=bool), np.ones((3, 2), dtype=bool), spacing=(1, 1))
    with pytest.raises(DataError, match=r"spacing \(1, 1, 1\)"):
        hausdorff(np.ones((2, 3), dtype=bool), np.ones((2, 3), dtype=bool), spacing=(1, 1, 1))
