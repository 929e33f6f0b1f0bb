"""gisegkit.components.postprocess."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gisegkit.components.postprocess import MinArea
from gisegkit.testing import check_postprocess


def test_contract():
    check_postprocess(MinArea(pixels=5))


def test_removes_smaller_islands_and_keeps_those_of_the_size():
    scan = np.zeros((1, 6, 8, 1), dtype=bool)
    scan[0, 0, :3, 0] = True  # 3 pixels in a row
    scan[0, 3, 6, 0] = scan[0, 4, 7, 0] = True  # 2 pixels that touch at a corner
    assert MinArea(pixels=2)(scan).sum() == 5
    kept = MinArea(pixels=3)(scan)
    assert kept[0, 0, :3, 0].all()
    assert kept.sum() == 3
    assert MinArea(pixels=4)(scan).sum() == 0


def test_slices_and_classes_are_apart():
    scan = np.zeros((3, 4, 4, 2), dtype=bool)
    scan[:, 1, 1, 0] = True  # one pixel in each of three slices
    scan[1, 1, 2, 1] = True  # beside it, another class
    assert MinArea(pixels=2)(scan).sum() == 0
    assert np.array_equal(MinArea(pixels=1)(scan), scan)


@pytest.mark.parametrize("pixels", [1, 3, 10])
def test_equals_scipy_label(pixels):
    scan = np.random.default_rng(pixels).random((4, 30, 23, 3)) < 0.3
    expected = np.zeros_like(scan)
    for d, k in np.ndindex(4, 3):
        labels, count = ndimage.label(scan[d, :, :, k], structure=np.ones((3, 3)))
        for label in range(1, count + 1):
            if (labels == label).sum() >= pixels:
                expected[d, :, :, k] |= labels == label
    assert np.array_equal(MinArea(pixels=pixels)(scan), expected)
