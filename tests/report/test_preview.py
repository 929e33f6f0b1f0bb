"""The preview: which slices it shows, with which lines, and what it says about them."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gisegkit.report.drawing import AMBER
from gisegkit.report.outlines import DASHED, SOLID, color_of, outlined
from gisegkit.report.preview import TILE, Panel, draw, encode_png, outlined_panel, pick_rows


def table_of(scans: dict[str, list[bool]]) -> pd.DataFrame:
    """A dataset's table from the emptiness of each scan's slices."""
    return pd.DataFrame([{"scan": name, "empty": empty} for name, slices in scans.items() for empty in slices])


def square(top: int, bottom: int, left: int, right: int, *, size: int = 90, classes: int = 1) -> np.ndarray:
    mask = np.zeros((size, size, classes), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def where(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(color)).all(axis=-1)


GRAY = np.tile(np.linspace(0, 1000, 90).astype(np.uint16), (90, 1))
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


# --- the picture ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [90, 61])
def test_the_prediction_is_dashed_and_the_truth_solid_on_top(height):
    truth, prediction = np.zeros((2, height, 90, 2), dtype=np.uint8)
    truth[20:50, 30:60, 0] = prediction[20:50, 30:60, 1] = 1
    prediction = prediction == 1
    image = GRAY[:height]
    size = (4 * height, TILE)
    np.testing.assert_array_equal(
        outlined_panel(Panel("a", image, prediction, truth)),
        outlined(image, size, [(DASHED, prediction), (SOLID, truth)]),
    )
    assert where(outlined_panel(Panel("a", image, prediction, truth)), color_of(0))[80, 120:240].all()
    np.testing.assert_array_equal(
        outlined_panel(Panel("a", image, prediction, None)), outlined(image, size, [(DASHED, prediction)])
    )


def test_only_what_is_in_the_picture_is_in_its_legend():
    def top(truth: np.ndarray | None) -> np.ndarray:
        return draw([Panel("a", GRAY, NOTHING, truth)], ["organ"], demo=False)[:100]

    labelled = top(NOTHING.astype(np.uint8))
    assert (top(None) != labelled).any(), "the truth"
    assert (top(NOTHING * np.uint8(0) + np.uint8(255)) != labelled).any(), "ignored pixels"


def test_only_a_demo_says_so():
    real, demo = (draw(panels(2), ["organ"], demo=demo, heading="run") for demo in (False, True))
    np.testing.assert_array_equal(demo[-len(real) :], real)
    assert where(demo, AMBER).any() and not where(real, AMBER).any()


def test_a_tall_image_is_no_higher_than_one_and_a_half_tiles():
    picture = outlined_panel(Panel("a", np.zeros((400, 100)), np.zeros((400, 100, 1), dtype=bool), None))
    assert picture.shape == (round(1.5 * TILE), 135, 3)


def panels(count: int, classes: int = 1) -> list[Panel]:
    truth = square(20, 50, 30, 60, classes=classes)
    return [Panel(f"slice_{index}", GRAY, truth.astype(bool), truth) for index in range(count)]


def test_slices_of_different_sizes_share_a_row():
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
        return draw([panel], ["first", "second"], demo=False)[-44:]

    perfect = below(Panel("a", GRAY, prediction, truth))
    np.testing.assert_array_equal(below(Panel("a", GRAY, wrong, ignored)), perfect)
    assert (below(Panel("a", GRAY, wrong, truth)) != perfect).any(), "without ignored pixels the score is lower"
    both = below(Panel("a", GRAY, np.ones_like(prediction), np.ones_like(truth)))
    assert where(both, color_of(1)).any()
    assert not where(perfect, color_of(1)).any(), "the second class is empty and not mentioned"


def test_the_png_holds_the_same_pixels():
    picture = draw(panels(2, classes=3), ["a", "b", "c"], demo=True)
    data = encode_png(picture)
    assert data.startswith(b"\x89PNG")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], picture)
