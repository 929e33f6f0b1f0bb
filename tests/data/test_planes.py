"""Planes and masks are the same pixels, whatever their type and how they lie in memory."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.data import planes


@pytest.mark.parametrize("dtype", [bool, np.uint8])
@pytest.mark.parametrize("classes", [1, 2, 3, 5])
def test_split_and_merge(dtype, classes):
    mask = np.random.default_rng(0).random((7, 9, classes)) < 0.4
    for seen in (mask, mask[:, ::-1], mask.transpose(1, 0, 2), mask[::2]):
        parts = planes.split(seen.astype(dtype))
        assert len(parts) == classes
        for k, part in enumerate(parts):
            assert part.dtype == dtype and part.flags.c_contiguous
            assert np.array_equal(part, seen[:, :, k])
        merged = planes.merge(parts)
        assert merged.dtype == np.uint8 and merged.shape == seen.shape
        assert np.array_equal(merged, seen)


def test_the_planes_of_a_stack_are_merged_too():
    stack = np.random.default_rng(0).random((4, 6, 5)) < 0.5
    assert np.array_equal(planes.merge(stack), stack.transpose(1, 2, 0))


@pytest.mark.parametrize("height", [1, 254, 255, 256, 511])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.1])
def test_pixels_are_counted_by_slice_and_class(height, share):
    masks = np.random.default_rng(0).random((3, height, 4, 2)) < share
    assert np.array_equal(planes.count(masks), masks.sum(axis=(1, 2)))
    assert np.array_equal(planes.count(masks[:, ::2]), masks[:, ::2].sum(axis=(1, 2)))


@pytest.mark.parametrize("classes", [1, 2, 3, 20])
def test_values_are_compared_and_the_highest_found_by_class(classes):
    values = np.random.default_rng(0).random((9, 7, classes), np.float32)
    bounds = values[4, 3].copy()  # so that some are equal
    for seen in (values, values[:, ::-1], values.transpose(1, 0, 2), values[::2, 1:]):
        reached = planes.at_least(seen, bounds)
        assert reached.dtype == bool and np.array_equal(reached, seen >= bounds)
        assert np.array_equal(planes.highest(seen), seen.max((0, 1)))
    values[0, 0, 0] = np.nan
    assert not planes.at_least(values, bounds)[0, 0, 0] and np.isnan(planes.highest(values)[0])
