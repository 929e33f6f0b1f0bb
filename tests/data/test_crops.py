"""Random windows of a slice: where they are put, what they show at each scale, and what lies outside."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gisegkit.data.crops import Crop, place, scaled, window_of
from gisegkit.data.geometry import Stretch


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_crop_at_native_scale_is_the_slice_itself():
    image = rng().random((9, 12, 2), dtype=np.float32)
    mask = rng(1).integers(0, 2, (9, 12, 3), dtype=np.uint8)
    crop = Crop(2, 5, (4, 6), (4, 6))
    np.testing.assert_array_equal(crop.image(image), image[2:6, 5:11])
    np.testing.assert_array_equal(crop.mask(mask), mask[2:6, 5:11])


@pytest.mark.parametrize("interpolation", ["linear", "area", "nearest"])
def test_a_crop_at_half_scale_is_that_part_of_the_slice_at_half_scale(interpolation):
    image = rng().random((32, 48, 1), dtype=np.float32)
    whole = Stretch((32, 48), scaled((32, 48), 0.5), interpolation).image(image)
    crop = Crop(8, 16, window_of((8, 10), 0.5), (8, 10), interpolation)
    inner = np.s_[1:-1, 1:-1]  # pixels at an edge would look over it
    np.testing.assert_allclose(crop.image(image)[inner], whole[4:12, 8:18][inner], rtol=1e-6)


def test_what_lies_outside_is_zero_and_a_small_slice_is_in_the_middle():
    image, mask = np.ones((3, 4, 1), np.float32), np.full((3, 4, 1), 255, np.uint8)
    top, left = place((3, 4), (6, 9), rng())
    assert (top, left) == (-1, -2), "of an odd rest, the larger part is below and on the right, as in Fit"
    crop = Crop(top, left, (6, 9), (6, 9))
    expected = np.zeros((6, 9, 1))
    expected[1:4, 2:6] = 1
    np.testing.assert_array_equal(crop.image(image), expected)
    np.testing.assert_array_equal(crop.mask(mask), 255 * expected)


def test_every_place_is_equally_likely():
    drawn = rng(3)
    counts = Counter(place((10, 5), (8, 5), drawn) for _ in range(3000))
    assert counts.keys() == {(0, 0), (1, 0), (2, 0)}
    chi = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert chi < 13.8  # the 99.9 % quantile of chi-squared with 2 degrees of freedom; the seed is fixed


def test_around_a_class_a_random_pixel_of_it_is_inside_and_rare_classes_come_as_often():
    mask = np.zeros((40, 40, 3), np.uint8)
    mask[5:25, 5:25, 0] = 1
    mask[39, 39, 2] = 1
    mask[0, 0, 1] = 255  # ignored pixels are of no class
    drawn, hits = rng(5), Counter()
    for _ in range(400):
        top, left = place((40, 40), (8, 8), drawn, mask=mask)
        assert 0 <= top <= 32 and 0 <= left <= 32
        seen = mask[top : top + 8, left : left + 8]
        assert (seen == 1).any()
        hits[2 if seen[..., 2].any() else 0] += 1
    assert 150 < hits[2] < 250  # 5 standard deviations of a fair coin around 200
    assert place((40, 40), (40, 40), rng(), mask=mask) == (0, 0)


def test_a_slice_without_a_class_is_cropped_anywhere():
    empty = np.zeros((20, 20, 2), np.uint8)
    assert place((20, 20), (4, 4), rng(7), mask=empty) == place((20, 20), (4, 4), rng(7))


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 1.7])
def test_a_window_covers_what_its_size_is_at_the_scale(scale):
    covered = scaled(window_of((64, 32), scale), scale)
    assert all(abs(a - b) <= scale / 2 + 0.5 for a, b in zip(covered, (64, 32), strict=True)), "whole native pixels"
    assert scaled((1, 1), 0.1) == (1, 1)
