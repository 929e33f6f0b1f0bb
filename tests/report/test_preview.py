"""The preview: which slices it shows, and that outlines lie on the organs' borders."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gisegkit.report.drawing import AMBER
from gisegkit.report.outlines import PALETTE, color_of
from gisegkit.report.preview import TILE, Panel, draw, encode_png, outlined, pick_rows


def table_of(scans: dict[str, list[bool]]) -> pd.DataFrame:
    """A dataset's table from the emptiness of each scan's slices."""
    return pd.DataFrame([{"scan": name, "empty": empty} for name, slices in scans.items() for empty in slices])


def square(top: int, bottom: int, left: int, right: int, *, size: int = 90, classes: int = 1) -> np.ndarray:
    mask = np.zeros((size, size, classes), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def where(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(color)).all(axis=-1)


GREY = np.tile(np.linspace(0, 1000, 90).astype(np.uint16), (90, 1))
NOTHING = np.zeros((90, 90, 1), dtype=bool)


# --- rows -----------------------------------------------------------------------------------------------------------


def test_rows_come_evenly_from_every_scan_with_one_empty_slice_among_them():
    table = table_of({name: [True] * 10 + [False] * 20 + [True] * 10 for name in ("a", "b", "c")})
    picked = pick_rows(table, range(len(table)), count=10)
    assert len(picked) == len(set(picked)) == 10
    assert picked == sorted(picked)
    chosen = table.iloc[picked]
    assert chosen["empty"].sum() == 1
    assert chosen[~chosen["empty"]].groupby("scan").size().to_dict() == {"a": 3, "b": 3, "c": 3}


def test_rows_are_spread_within_a_scan():
    picked = pick_rows(table_of({"a": [False] * 100}), range(100), count=4)
    assert picked == [12, 37, 62, 87]  # the middle of each quarter


def test_more_scans_than_places_gives_different_scans_from_first_to_last():
    table = table_of({f"scan{index:02}": [False] * 5 for index in range(30)})
    picked = pick_rows(table, range(len(table)), count=6)
    scans = [row // 5 for row in picked]
    assert len(set(scans)) == 6
    assert scans[0] < 5
    assert scans[-1] >= 25


def test_empty_slices_fill_up_where_annotated_ones_run_out():
    table = table_of({"a": [True] * 20 + [False] * 2})
    picked = pick_rows(table, range(22), count=6)
    assert {20, 21} <= set(picked)
    assert len(picked) == 6


def test_no_rows_give_no_picks():
    assert pick_rows(table_of({"a": [False]}), [], count=3) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=6), st.integers(1, 14), st.data())
def test_as_many_rows_as_there_are_and_only_from_those_given(scans, count, data):
    table = table_of({str(index): slices for index, slices in enumerate(scans)})
    rows = data.draw(st.lists(st.integers(0, len(table) - 1), unique=True))
    picked = pick_rows(table, rows, count=count)
    assert len(picked) == min(count, len(rows))
    assert set(picked) <= set(rows)
    assert picked == pick_rows(table, list(reversed(rows)), count=count)
    if table["empty"].iloc[rows].any() and count > 0:
        assert table["empty"].iloc[picked].any()


# --- outlines -------------------------------------------------------------------------------------------------------


def test_truth_is_a_solid_line_on_the_squares_outermost_pixels():
    truth = square(20, 50, 30, 60)
    found = where(outlined(Panel("a", GREY, NOTHING, truth)), PALETTE[0])
    scale = TILE // 90
    expected = np.zeros((TILE, TILE), dtype=bool)
    expected[20 * scale : 50 * scale, 30 * scale : 60 * scale] = True
    expected[20 * scale + 1 : 50 * scale - 1, 30 * scale + 1 : 60 * scale - 1] = False
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("height", [90, 61])
def test_prediction_is_a_dashed_line_around_the_same_pixels(height):
    mask = square(20, 50, 30, 60)[:height]
    picture = outlined(Panel("a", GREY[:height], mask.astype(bool), None))
    found = where(picture, PALETTE[0])
    scale = TILE // 90
    assert picture.shape == (height * scale, TILE, 3)
    top, bottom, left, right = 20 * scale, 50 * scale - 1, 30 * scale, 60 * scale - 1
    near = np.zeros(found.shape, dtype=bool)
    near[top - 1 : bottom + 2, left - 1 : right + 2] = True
    near[top + 2 : bottom - 1, left + 2 : right - 1] = False
    assert not (found & ~near).any()
    for line in (found[top, left : right + 1], found[bottom, left : right + 1], found[top : bottom + 1, left]):
        assert 0.4 < line.mean() < 0.95, "dashes, with gaps between them"


def test_a_size_that_does_not_divide_the_tile_keeps_the_border_within_a_pixel():
    truth = np.zeros((310, 266, 1), dtype=np.uint8)
    truth[100:200, 50:150] = 1
    picture = outlined(Panel("a", np.zeros((310, 266)), np.zeros_like(truth, dtype=bool), truth))
    rows, columns = np.nonzero(where(picture, PALETTE[0]))
    scale = TILE / 266
    assert picture.shape == (round(310 * scale), TILE, 3)
    assert abs(rows.min() - 100 * scale) <= 1
    assert abs(rows.max() + 1 - 200 * scale) <= 1
    assert abs(columns.min() - 50 * scale) <= 1
    assert abs(columns.max() + 1 - 150 * scale) <= 1


def test_each_of_five_classes_has_its_own_colour():
    truth = np.zeros((90, 90, 5), dtype=np.uint8)
    for index in range(5):
        truth[10:25, 2 + 17 * index : 15 + 17 * index, index] = 1
    picture = outlined(Panel("a", GREY, np.zeros(truth.shape, dtype=bool), truth))
    for index in range(5):
        columns = np.nonzero(where(picture, color_of(index)))[1]
        assert columns.min() == (2 + 17 * index) * 4
        assert columns.max() == (15 + 17 * index) * 4 - 1


def test_palette_has_ten_different_colours_and_starts_again():
    assert len(set(PALETTE)) == 10
    assert color_of(10) == color_of(0)


def test_a_single_pixel_and_a_hole_are_outlined():
    truth = square(20, 60, 20, 60)
    truth[30:50, 30:50] = 0
    truth[80, 80] = 1
    found = where(outlined(Panel("a", GREY, NOTHING, truth)), PALETTE[0])
    assert found[30 * 4 - 1, 30 * 4 : 50 * 4].all(), "the hole's upper border lies on the ring"
    assert found[80 * 4 : 81 * 4, 80 * 4].all()
    assert not found[35 * 4 : 45 * 4, 35 * 4 : 45 * 4].any()


def test_empty_masks_leave_the_slice_as_it_is():
    with_masks = outlined(Panel("a", GREY, NOTHING, np.zeros((90, 90, 1), dtype=np.uint8)))
    np.testing.assert_array_equal(with_masks, outlined(Panel("a", GREY, NOTHING, None)))
    assert (with_masks[..., 0] == with_masks[..., 2]).all(), "grey"
    assert with_masks.min() == 0
    assert with_masks.max() == 255


def test_ignored_pixels_are_hatched_not_outlined():
    truth = square(20, 50, 30, 60) * 255
    picture = outlined(Panel("a", GREY, NOTHING, truth))
    plain = outlined(Panel("a", GREY, NOTHING, None))
    changed = (picture != plain).any(axis=-1)
    assert not where(picture, PALETTE[0]).any()
    assert 0.1 < changed[80:200, 120:240].mean() < 0.5
    changed[80:200, 120:240] = False
    assert not changed.any()


# --- images ---------------------------------------------------------------------------------------------------------


def test_a_colour_image_keeps_its_colours():
    image = np.zeros((90, 90, 3), dtype=np.uint8)
    image[:, :45, 0] = 200
    image[:, 45:, 2] = 200
    picture = outlined(Panel("a", image, NOTHING, None))
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
    assert outlined(Panel("a", image, NOTHING, None)).shape == (TILE, TILE, 3)


def test_one_hot_pixel_does_not_turn_the_rest_black():
    image = GREY.astype(np.float32)
    image[0, 0] = 1e6
    assert outlined(Panel("a", image, NOTHING, None))[180, 180].mean() == pytest.approx(127, abs=8)


def test_a_tall_image_is_no_higher_than_one_and_a_half_tiles():
    picture = outlined(Panel("a", np.zeros((400, 100)), np.zeros((400, 100, 1), dtype=bool), None))
    assert picture.shape == (round(1.5 * TILE), 135, 3)


# --- the whole ------------------------------------------------------------------------------------------------------


def panels(count: int, classes: int = 1) -> list[Panel]:
    truth = square(20, 50, 30, 60, classes=classes)
    return [Panel(f"slice_{index}", GREY, truth.astype(bool), truth) for index in range(count)]


def test_the_demo_banner_is_above_everything_and_only_in_a_demo():
    real = draw(panels(2), ["organ"], demo=False, heading="run")
    demo = draw(panels(2), ["organ"], demo=True, heading="run")
    added = len(demo) - len(real)
    assert added == 40
    np.testing.assert_array_equal(demo[added:], real)
    assert where(demo[:added], AMBER).mean() > 0.5
    assert not where(real, AMBER).any()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (4, 4), (5, 3), (9, 3), (12, 4)])
def test_the_grid_is_at_most_four_wide_and_evenly_filled(count, columns):
    picture = draw(panels(count), ["organ"], demo=False)
    assert picture.shape[1] == columns * (TILE + 16) + 16
    assert picture.dtype == np.uint8
    assert len(picture) > -(-count // columns) * TILE


def test_slices_of_different_sizes_stand_in_one_row():
    wide = Panel("wide", np.zeros((60, 120)), np.zeros((60, 120, 1), dtype=bool), None)
    tall = Panel("tall", np.zeros((500, 100)), np.zeros((500, 100, 1), dtype=bool), None)
    assert draw([wide, tall], ["organ"], demo=False).shape[1] == 2 * (TILE + 16) + 16


def test_no_panels_and_names_beyond_ascii_are_drawn():
    assert draw([], ["Dünndarm"], demo=True, heading="nothing to show – yet").shape[2] == 3


def test_the_dice_below_a_slice_leaves_out_ignored_pixels_and_empty_classes():
    truth = np.zeros((90, 90, 2), dtype=np.uint8)
    truth[20:50, 30:60, 0] = 1
    prediction = truth == 1
    ignored = truth.copy()
    ignored[50:60, :, 0] = 255
    wrong = prediction.copy()
    wrong[50:60, :, 0] = True

    def below(panel: Panel) -> np.ndarray:
        return draw([panel], ["first", "second"], demo=False)[-30:]

    perfect = below(Panel("a", GREY, prediction, truth))
    np.testing.assert_array_equal(below(Panel("a", GREY, wrong, ignored)), perfect)
    assert (below(Panel("a", GREY, wrong, truth)) != perfect).any(), "without ignored pixels the score is lower"
    both = below(Panel("a", GREY, np.ones_like(prediction), np.ones_like(truth)))
    assert where(both, color_of(1)).any()
    assert not where(perfect, color_of(1)).any(), "the second class is empty and not mentioned"


def test_the_png_holds_the_same_pixels():
    picture = draw(panels(2, classes=3), ["a", "b", "c"], demo=True)
    data = encode_png(picture)
    assert data.startswith(b"\x89PNG")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], picture)
