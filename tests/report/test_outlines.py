"""Masks as lines: outlines are on the borders of regions, cut into dashes, and gray values fit the eye."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.report.drawing import INK, blank
from gisegkit.report.outlines import (
    DASHED,
    DOTTED,
    PALETTE,
    SOLID,
    Line,
    black_and_white,
    borders,
    color_of,
    dashes,
    enlarge,
    hatch,
    legend,
    outlined,
    stretch,
)

GRAY = np.tile(np.linspace(0, 1000, 90).astype(np.uint16), (90, 1))
SIZE = (360, 360)
"""Four times that of GRAY."""


def square(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((90, 90, 1), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def where(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(color)).all(axis=-1)


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


def test_color_stays_and_of_other_channels_the_first_is_taken():
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


def test_the_legend_has_lines_hatching_and_every_class_in_its_color():
    items = legend([("truth", SOLID), ("weak", Line((6, 7), 0.4))], ["a", "b", "c"], ignored=True)
    assert [item.text for item in items] == ["truth", "weak", "ignored", "a", "b", "c"]
    assert {item.color for item in items} == {INK}
    solid, weak, hatched, *colors = [item.sample for item in items]
    assert where(solid, INK).sum() == 44 and not where(weak, INK).any()
    assert (weak != blank(16, 44)).any() and (hatched != blank(16, 22)).any()
    assert [tuple(sample[8, 7]) for sample in colors] == list(PALETTE[:3])
    assert [item.text for item in legend([], ["a"], ignored=False)] == ["a"]


# --- a slice with outlines ------------------------------------------------------------------------------------------


def test_a_solid_line_is_on_the_outermost_pixels():
    found = where(outlined(GRAY, SIZE, [(SOLID, square(20, 50, 30, 60))]), PALETTE[0])
    expected = np.zeros(SIZE, dtype=bool)
    expected[80:200, 120:240] = True
    expected[81:199, 121:239] = False
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("line", [DASHED, DOTTED])
def test_a_broken_line_runs_along_the_same_pixels(line):
    found = where(outlined(GRAY, SIZE, [(line, square(20, 50, 30, 60) == 1)]), PALETTE[0])
    near = np.zeros(SIZE, dtype=bool)
    near[79:201, 119:241] = True
    near[82:198, 122:238] = False
    assert not (found & ~near).any()
    for side in (found[80, 120:240], found[199, 120:240], found[80:200, 120]):
        assert 0.4 < side.mean() < 0.95, "dashes, with gaps between them"


@pytest.mark.parametrize("line", [SOLID, DASHED, DOTTED])
def test_even_a_single_pixel_is_outlined(line):
    pixel = square(45, 46, 30, 31)
    assert where(outlined(GRAY, SIZE, [(line, pixel)]), PALETTE[0]).any()
    assert where(outlined(GRAY, (90, 90), [(line, pixel)]), PALETTE[0])[45, 30]


def test_a_hole_is_outlined():
    ring = square(20, 60, 20, 60)
    ring[30:50, 30:50] = 0
    found = where(outlined(GRAY, SIZE, [(SOLID, ring)]), PALETTE[0])
    assert found[119, 120:200].all(), "the hole's upper border is on the ring"
    assert not found[140:180, 140:180].any()


def test_a_size_that_does_not_divide_keeps_the_border_within_a_pixel():
    mask = np.zeros((310, 266, 1), dtype=np.uint8)
    mask[100:200, 50:150] = 1
    picture = outlined(np.zeros((310, 266)), (420, 360), [(SOLID, mask)])
    assert picture.shape == (420, 360, 3)
    rows, columns = np.nonzero(where(picture, PALETTE[0]))
    found = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
    expected = [100 * 420 / 310, 200 * 420 / 310, 50 * 360 / 266, 150 * 360 / 266]
    assert np.abs(np.subtract(found, expected)).max() <= 1


def test_each_of_five_classes_has_its_own_color():
    masks = np.concatenate([square(10, 25, 2 + 17 * index, 15 + 17 * index) for index in range(5)], axis=2)
    picture = outlined(GRAY, SIZE, [(SOLID, masks)])
    for index in range(5):
        columns = np.nonzero(where(picture, color_of(index)))[1]
        assert columns.min() == (2 + 17 * index) * 4
        assert columns.max() == (15 + 17 * index) * 4 - 1


def test_the_palette_has_ten_different_colors_and_starts_again():
    assert len(set(PALETTE)) == 10
    assert color_of(10) == color_of(0)
    picture = outlined(GRAY, SIZE, [(SOLID, square(20, 50, 30, 60) * np.eye(11, dtype=np.uint8)[10])])
    assert where(picture, PALETTE[0]).any()


def test_a_weaker_line_lets_the_slice_show_through():
    plain = outlined(GRAY, SIZE, [])
    strong, weak = (outlined(GRAY, SIZE, [(Line(None, share), square(20, 50, 30, 60))]) for share in (1.0, 0.5))
    line = where(strong, PALETTE[0])
    difference = np.abs(weak[line].astype(float) - np.array(PALETTE[0]))
    assert 0.3 < difference.mean() / np.abs(plain[line].astype(float) - np.array(PALETTE[0])).mean() < 0.9


def test_a_dark_rim_sets_a_line_off_bright_tissue():
    bright = np.full((90, 90, 3), 200, dtype=np.uint8)
    picture = outlined(bright, SIZE, [(SOLID, square(20, 50, 30, 60))], limits=(0, 200))
    assert picture[[78, 79, 81, 82], 180].tolist() == [[255] * 3, [127] * 3, [127] * 3, [255] * 3]


def test_the_last_of_several_lines_is_on_top_and_no_rim_darkens_a_line():
    first, last = square(20, 50, 30, 60), square(20, 50, 30, 60).repeat(2, axis=2)
    last[..., 0] = 0
    picture = outlined(GRAY, SIZE, [(DASHED, first), (SOLID, last)])
    assert where(picture, PALETTE[1])[80, 120:240].all()
    assert where(picture, PALETTE[0])[79, 125:235].any(), "the wider dashes show on both sides of the line"


def test_empty_masks_leave_the_slice_as_it_is():
    picture = outlined(GRAY, SIZE, [(SOLID, np.zeros((90, 90, 1), dtype=np.uint8))])
    np.testing.assert_array_equal(picture, outlined(GRAY, SIZE, []))
    assert (picture[..., 0] == picture[..., 2]).all(), "gray"
    assert picture.min() == 0
    assert picture.max() == 255


@pytest.mark.parametrize("shares", [(0, 1), (1, 0), (1, 1)])
def test_pixels_that_any_mask_ignores_are_hatched_once_and_not_outlined(shares):
    ignored = square(20, 50, 30, 60) * 255
    picture = outlined(GRAY, SIZE, [(SOLID, ignored * shares[0]), (DASHED, ignored * shares[1])])
    plain = outlined(GRAY, SIZE, [])
    hatched = plain.copy()
    hatch(hatched, np.kron(ignored[..., 0] > 0, np.ones((4, 4), dtype=bool)))
    np.testing.assert_array_equal(picture, hatched)
    assert 0.1 < (picture != plain).any(axis=-1)[80:200, 120:240].mean() < 0.5


def test_a_color_image_keeps_its_colors():
    image = np.zeros((90, 90, 3), dtype=np.uint8)
    image[:, :45, 0] = 200
    image[:, 45:, 2] = 200
    picture = outlined(image, SIZE, [])
    assert picture[100, 50].tolist() == [255, 0, 0]
    assert picture[100, 300].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    "image",
    [
        np.full((90, 90), 7, dtype=np.uint16),
        np.full((90, 90), np.nan, dtype=np.float32),
        np.where(np.eye(90) > 0, np.inf, 1.0),
        np.zeros((90, 90, 4), dtype=np.uint8),
    ],
    ids=["constant", "nan", "infinite", "four channels"],
)
def test_odd_images_are_drawn_without_warnings(image):
    assert outlined(image, SIZE, []).shape == (*SIZE, 3)


def test_one_hot_pixel_does_not_turn_the_rest_black():
    image = GRAY.astype(np.float32)
    image[0, 0] = 1e6
    assert outlined(image, SIZE, [])[180, 180].mean() == pytest.approx(127, abs=8)
