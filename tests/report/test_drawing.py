"""Text and layout of pictures: what fits, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.report.drawing import (
    BACKGROUND,
    INK,
    Item,
    banner,
    blank,
    flow,
    paragraph,
    put_text,
    shorten,
    stack,
    text_width,
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


def test_tiles_are_stacked_side_by_side():
    tiles = [np.full((10 + value, 20, 3), value, np.uint8) for value in (50, 100)]
    picture = stack(tiles, 200)
    assert picture.shape[0] >= 110 and picture.shape[1] == 200
    first, second = (np.flatnonzero((picture[0] == value).all(axis=1)) for value in (50, 100))
    assert len(first) == len(second) == 20
    assert first.max() < second.min()


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
