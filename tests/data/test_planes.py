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
