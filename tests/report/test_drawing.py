"""Text and layout of pictures: what fits, and where it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gisegkit.report.drawing import (
    AMBER,
    BACKGROUND,
    INK,
    PADDING,
    SHEET_WIDTH,
    Item,
    banner,
    blank,
    flow,
    paragraph,
    put_text,
    sheet,
    shorten,
    side_by_side,
    text_width,
    tile,
)

TILE = 360


def test_long_titles_lose_their_middle():
    title = "case123_day20_" * 10 + "slice_0001"
    short = shorten(title, TILE, 0.46)
    assert text_width(short, 0.46) <= TILE
    assert short.startswith("case123")
    assert short.endswith("slice_0001")
    assert shorten("short", TILE, 0.46) == "short"


def test_text_stays_inside_its_measured_width():
    picture = blank(40, 400)
    put_text(picture, "stomach 0.92", (10, 28), 0.5, INK)
    columns = np.flatnonzero((picture != BACKGROUND).any(axis=(0, 2)))
    assert columns.size > 0
    assert columns.min() >= 8
    assert columns.max() <= 10 + text_width("stomach 0.92", 0.5) + 2


@pytest.mark.parametrize("width", [200, 640])
def test_banner_has_the_width_and_stands_out(width):
    picture = banner("DEMO", width)
    assert picture.shape[1] == width
    assert (picture != BACKGROUND).any()


def test_items_flow_into_rows_of_the_width():
    items = [Item(f"class {number}", INK) for number in range(12)]
    wide, narrow = flow(items, 2000), flow(items, 300)
    assert wide.shape[1] == 2000
    assert narrow.shape[1] == 300
    assert narrow.shape[0] > wide.shape[0]


def test_letters_beyond_ascii_are_drawn_if_opencv_can():
    with_umlaut, without = blank(30, 100), blank(30, 100)
    put_text(with_umlaut, "Dünndarm", (5, 20), 0.5, INK)
    put_text(without, "D?nndarm", (5, 20), 0.5, INK)
    assert np.array_equal(with_umlaut, without) == (int(cv2.__version__.split(".")[0]) < 5)


def test_tiles_are_side_by_side():
    tiles = [np.full((10 + value, 20, 3), value, np.uint8) for value in (50, 100)]
    picture = side_by_side(tiles, gap=8)
    assert picture.shape == (110, 48, 3)
    assert (picture[:60, :20] == 50).all() and (picture[:110, 28:] == 100).all()
    assert (picture[60:, :28] == BACKGROUND).all() and (picture[:, 20:28] == BACKGROUND).all()


def test_a_narrow_picture_is_in_the_middle_of_its_tile():
    picture = tile(np.full((10, 20, 3), 255, np.uint8), 41, np.full((5, 41, 3), 7, np.uint8))
    assert picture.shape == (19, 41, 3)
    assert (picture[:10, 10:30] == 255).all() and (picture[-5:] == 7).all()
    assert (picture[:10, :10] == PADDING).all() and (picture[:10, 30:] == PADDING).all()


@pytest.mark.parametrize(("count", "columns"), [(0, 1), (1, 1), (3, 3), (4, 4), (5, 3), (9, 3), (12, 4)])
def test_a_sheet_is_as_wide_as_its_blocks_and_evenly_filled(count, columns):
    blocks = [np.full((100, 360, 3), 200 + number, np.uint8) for number in range(count)]
    picture = sheet(blocks, gap=16, demo=False, heading="run", legend=[])
    if blocks:
        assert picture.shape[1] == columns * 376 + 16 <= SHEET_WIDTH
    for number in range(count):
        row, column = divmod(number, columns)
        rows, found = np.nonzero((picture == 200 + number).all(axis=-1))
        assert len(rows) == 100 * 360 and found.min() == 16 + column * 376
        assert len(picture) - rows.max() - 1 == 16 + 116 * (-(-count // columns) - 1 - row)


def test_a_sheet_has_the_demo_banner_above_everything_and_only_in_a_demo():
    real, demo = (sheet([], gap=16, demo=demo, heading="run", legend=[Item("a", INK)]) for demo in (False, True))
    np.testing.assert_array_equal(demo[40:], real)
    assert (demo[:40] == AMBER).all(axis=-1).mean() > 0.5
    assert not (real == AMBER).all(axis=-1).any()


def test_a_heading_widens_a_sheet_and_then_takes_more_lines():
    block = blank(10, 200)
    short, wide, long = (
        sheet([block], gap=16, demo=False, heading=heading, legend=[]) for heading in ("a", "word " * 10, "word " * 60)
    )
    assert short.shape[1] == 232 < wide.shape[1] < long.shape[1] == SHEET_WIDTH
    assert len(short) == len(wide) < len(long)


def test_a_paragraph_breaks_between_words_and_loses_nothing():
    text = "lambda 0.63; partners of slices 1 to 8: 7 6 5 2 3 1 4 8"
    one, several = paragraph(text, 2000), paragraph(text, 160, margin=10)
    assert one.shape == (18, 2000, 3)
    assert several.shape[1] == 160 and several.shape[0] % 18 == 0 and several.shape[0] > 18
    lines = [several[top : top + 18] for top in range(0, len(several), 18)]
    assert all((line != BACKGROUND).any() for line in lines)
    outside = np.concatenate([several[:, :8], several[:, 152:]], axis=1)
    assert (outside == BACKGROUND).all(), "inside the margins"
    ink = [int((part != np.array(BACKGROUND)).sum()) for part in (one, several)]
    assert ink[1] == pytest.approx(ink[0], rel=0.1), "the same letters"


def test_a_paragraph_of_one_wide_word_stays_inside():
    picture = paragraph("x" * 300, 200)
    assert picture.shape == (18, 200, 3)
    assert (picture[:, -1:] == BACKGROUND).all()
    assert paragraph("", 200).shape == (18, 200, 3)
