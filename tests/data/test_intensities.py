"""A line maps intensities: what a plugin may give, what is refused of it, and what of the images."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from gisegkit.data.intensities import Intensities, Scale, apply, problem, scale_of
from gisegkit.errors import ComponentError

UNIT = Intensities(0.0, 10.0, 255.0, (np.arange(11, dtype=np.uint8).reshape(11, 1, 1),))


def made(given, **attributes):
    return SimpleNamespace(**{"over": "slice", "range": (0, 1), "scale": lambda unit: given} | attributes)


def test_pixels_are_those_of_all_images_in_order():
    images = (np.array([[[1], [2]]]), np.array([[[3], [4]]]))
    assert Intensities(1, 4, 255, images).pixels.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7.0, r"gives 7.0, not the pair"), ((1, 2, 3), "not the pair"), (("a", 1), "not the pair"),
        ((0, 0), "divisor 0; .*above 0"), ((0, -1), "divisor -1"), ((0, math.nan), "divisor nan"),
        ((math.inf, 1), "offset inf"), ((math.nan, 1), "offset nan"),
    ],
)  # fmt: skip
def test_what_is_no_line_is_refused(given, message):
    with pytest.raises(ComponentError, match=message):
        scale_of(made(given), UNIT)


def test_one_that_keeps_zero_has_no_offset():
    assert scale_of(made((0, 4), keeps_zero=True), UNIT) == Scale(0, 4)
    with pytest.raises(ComponentError, match="offset 2, and keeps_zero"):
        scale_of(made((2, 4), keeps_zero=True), UNIT)


def test_the_line_is_drawn_in_float32_and_clips_only_if_it_says_so():
    image = np.array([[[-7], [3], [11]]], dtype=np.int16)
    expected = (image.astype(np.float32) - np.float32(3)) / np.float32(7)
    result = apply(made((3, 7)), image, Scale(3, 7))
    assert result.dtype == np.float32 and np.array_equal(result, expected)
    assert np.array_equal(apply(made((3, 7), clips=True), image, Scale(3, 7)), expected.clip(0, 1))
    assert image.tolist() == [[[-7], [3], [11]]]
    assert not apply(made(None), image, Scale(5, math.inf)).any(), "no contrast"


@pytest.mark.parametrize(
    ("low", "high", "attributes", "refused"),
    [
        (0, 10, {}, False),
        (-1, 10, {}, True),
        (0, 10.1, {}, True),
        (-1, 11, {"clips": True}, False),
        (-1, 11, {"range": None}, False),
        (0, 10 * (1 + 1e-7), {}, False),
    ],
)
def test_values_that_leave_the_promised_range_are_refused(low, high, attributes, refused):
    text = problem(made(None, **attributes), low, high, Scale(0, 10))
    assert bool(text) is refused
    if refused:
        assert f"its values, {low:g} to {high:g}, would become {low / 10:g} to {high / 10:g}, and only 0 to 1" in text
        assert '"zscore"' in text and '"window"' in text


def test_quotients_that_no_float32_holds_are_refused():
    assert "not finite once they are divided by 0" in problem(made(None), 0, 1e-50, Scale(0, 1e-50))
    assert problem(made(None, range=None), 0, 1e-50, Scale(0, math.inf)) == ""
