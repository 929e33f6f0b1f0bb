"""Run lengths: row-major, 1-based, strict; equal to a pixel-by-pixel reference and to the competition's own text."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gisegkit.data import rle
from gisegkit.errors import DataError

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "uwmgi-sample"

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def slow_encode(mask):
    """One pixel at a time, after the definition."""
    words, length = [], 0
    flat = [bool(mask[y, x]) for y in range(mask.shape[0]) for x in range(mask.shape[1])]
    for number, inside in enumerate([*flat, False], start=1):
        if inside:
            length += 1
        elif length:
            words += [str(number - length), str(length)]
            length = 0
    return " ".join(words)


@given(masks)
def test_round_trip_and_reference(mask):
    height, width = mask.shape
    text = rle.encode(mask)
    assert text == slow_encode(mask)
    assert np.array_equal(rle.decode(text, height=height, width=width), mask)
    assert rle.encode(mask.astype(np.uint8) * 255) == text


@given(masks, st.integers(1, 5))
def test_runs_cut_in_pieces_decode_alike_and_merge(mask, piece):
    words = []
    for start, length in rle.runs(rle.encode(mask)):
        for offset in range(0, length, piece):
            words += [start + offset, min(piece, length - offset)]
    height, width = mask.shape
    decoded = rle.decode(" ".join(map(str, words)), height=height, width=width)
    assert np.array_equal(decoded, mask)
    assert rle.encode(decoded) == rle.encode(mask)


def test_rows_first_counted_from_one():
    mask = rle.decode("1 1 3 2", height=2, width=3)  # the second run goes on in the second row
    assert mask.tolist() == [[True, False, True], [True, False, False]]
    assert rle.encode(mask) == "1 1 3 2"


def test_views_and_column_major_memory_do_not_change_the_order():
    mask = np.zeros((4, 6), dtype=bool)
    mask[1, 2:5] = True
    assert rle.encode(np.asfortranarray(mask)) == rle.encode(mask) == "9 3"
    assert rle.encode(np.repeat(mask[:, :, None], 3, axis=2)[:, :, 1]) == "9 3"


@pytest.mark.parametrize("text", ["", "  ", None, float("nan"), np.nan])
def test_missing_is_empty(text):
    assert not rle.decode(text, height=3, width=4).any()
    assert rle.runs(text).shape == (0, 2)


def test_runs():
    assert rle.runs(" 2 3\t5 1 \n").tolist() == [[2, 3], [5, 1]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3", "3 values"),
        ("1.0 2", "'1.0' is not a whole number"),
        ("1 two", "'two' is not a whole number"),
        ("1_0 2", "'1_0'"),
        ("1 9999999999999999999", "18 digits"),
        ("٣ 1", "whole number"),
        ("0 2", "run 1, '0 2', starts before the first pixel"),
        ("-4 2", "'-4 2', starts before"),
        ("1 1 5 0", "run 2, '5 0', has a length below 1"),
        ("5 2 1 2", "run 2, '1 2', starts before the run in front"),
        ("1 3 3 2", "run 2, '3 2', overlaps"),
        ("1 3 1 3", "overlaps"),
        ("1 2 12 2", "'12 2' ends at pixel 13, but 3 rows of 4 columns have 12"),
        ("13 1", "ends at pixel 13"),
        (7, "7 is no text of runs"),
    ],
)
def test_refusals_name_place_and_reason(text, reason):
    with pytest.raises(DataError) as caught:
        rle.decode(text, height=3, width=4, place="train.csv, row 5")
    assert str(caught.value).startswith("train.csv, row 5: ")
    assert reason in str(caught.value)


def test_last_pixel_is_inside():
    assert rle.decode("12 1", height=3, width=4)[2, 3]


def test_encode_refuses_a_stack():
    with pytest.raises(DataError, match=r"\(2, 3, 1\)"):
        rle.encode(np.zeros((2, 3, 1), dtype=bool))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real UW-Madison sample is not here (../shared/data/uwmgi-sample)")
def test_the_real_fields_come_back_character_for_character():
    sizes = {}
    for path in SAMPLE.glob("train/*/*/scans/*.png"):
        _, position, width, height, *_ = path.stem.split("_")
        sizes[f"{path.parts[-3]}_slice_{position}"] = (int(height), int(width))
    with (SAMPLE / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 54
    assert sum(bool(row["segmentation"]) for row in rows) > 20
    for row in rows:
        height, width = sizes[row["id"]]
        assert rle.encode(rle.decode(row["segmentation"], height=height, width=width)) == row["segmentation"]
