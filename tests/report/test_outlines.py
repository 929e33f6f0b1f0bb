"""Masks as lines: where outlines lie, how they are cut into dashes, and what grey values become for the eye."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.report.drawing import INK, blank
from gisegkit.report.outlines import (
    PALETTE,
    black_and_white,
    borders,
    class_items,
    color_of,
    dashes,
    enlarge,
    hatch,
    ignored_item,
    stretch,
)


def test_the_border_of_a_square_is_its_outermost_pixels():
    mask = np.zeros((12, 15, 2), dtype=bool)
    mask[3:8, 4:11, 1] = True
    first, second = borders(mask)
    assert first == []
    (path,) = second
    found = {(int(y), int(x)) for ((x, y),) in path}
    inner = {(y, x) for y in range(4, 7) for x in range(5, 10)}
    assert found == {(y, x) for y in range(3, 8) for x in range(4, 11)} - inner


@pytest.mark.parametrize(("dash", "gap"), [(6, 7), (3, 1), (1, 4)])
def test_dashes_take_their_share_of_a_path_in_its_order(dash, gap):
    path = np.arange(100, dtype=np.int32).reshape(50, 1, 2)
    kept = np.concatenate(dashes([path], dash, gap))
    expected = [number for number in range(50) if number % (dash + gap) < dash]
    np.testing.assert_array_equal(kept, path[expected])


def test_a_mask_is_enlarged_by_whole_pixels():
    mask = np.random.default_rng(0).integers(0, 2, (3, 4, 2), dtype=np.uint8)
    np.testing.assert_array_equal(enlarge(mask, (9, 8)), mask.repeat(3, axis=0).repeat(2, axis=1))


def test_limits_decide_what_is_black_and_what_is_white():
    image = np.array([[0.0, 1.0, 2.0, 3.0]])
    assert stretch(image, (1.0, 2.0))[0, :, 0].tolist() == [0, 0, 255, 255]
    assert stretch(image)[0, :, 0].tolist()[0::3] == [0, 255]
    ramp = np.linspace(0, 100, 20_001)
    assert black_and_white(ramp) == pytest.approx((0.5, 99.5))


@pytest.mark.parametrize(
    ("values", "limits"), [([3.0, 3.0], (3, 3)), ([np.nan, np.nan], (0, 0)), ([0.0] * 999 + [1.0, np.inf], (0, 1))]
)
def test_limits_of_odd_images(values, limits):
    assert black_and_white(np.array(values)) == limits


def test_colour_stays_and_of_other_channels_the_first_is_taken():
    image = np.random.default_rng(0).random((5, 6, 3))
    assert len(np.unique(stretch(image, (0, 1)).reshape(-1, 3), axis=0)) == 30
    np.testing.assert_array_equal(stretch(np.dstack([image, image]), (0, 1)), stretch(image[..., 0], (0, 1)))


def test_hatching_stays_in_its_area():
    picture = blank(40, 40)
    where = np.zeros((40, 40), dtype=bool)
    where[:, 20:] = True
    hatch(picture, where)
    changed = (picture != blank(40, 40)).any(axis=-1)
    assert not changed[:, :20].any()
    assert changed[:, 20:].mean() == pytest.approx(0.25)


def test_the_legend_has_every_class_in_its_colour():
    items = class_items(["a", "b", "c"])
    assert [item.text for item in items] == ["a", "b", "c"]
    assert [tuple(item.sample[8, 7]) for item in items] == list(PALETTE[:3])
    assert {item.color for item in items} == {INK} == {ignored_item().color}
    assert color_of(len(PALETTE) + 1) == PALETTE[1]
