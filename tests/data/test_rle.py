"""Run lengths: row-major, 1-based, strict; equal to a pixel-by-pixel reference and to the competition's own text."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gisegkit.data import rle
from gisegkit.errors import DataError

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "uwmgi-sample"

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
few = st.sets(st.integers(0, 40 * 60 - 1), max_size=6)  # pixels of a mask that is mostly empty


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


def slow_decode(text, height, width):
    """Word by word and pixel by pixel, after the definition; None if the text must be refused."""
    blanks = " \t\n\r\f\v"
    words = "".join(" " if letter in blanks else letter for letter in text).split(" ")
    words = [word for word in words if word]
    digits = [word.removeprefix("-") for word in words]
    if (
        any(not word or len(word.lstrip("0")) > 18 or set(word) - set("0123456789") for word in digits)
        or len(words) % 2
    ):
        return None
    flat, last = [False] * (height * width), 0
    for start, length in zip(map(int, words[::2]), map(int, words[1::2]), strict=True):
        if length < 1 or start <= last or start + length - 1 > len(flat):
            return None
        last = start + length - 1
        flat[start - 1 : last] = [True] * length
    return [flat[row * width : (row + 1) * width] for row in range(height)]


near_runs = st.lists(st.integers(-1, 40).map(str) | st.text("0123456789", min_size=16, max_size=21), max_size=7)
near_texts = st.lists(st.sampled_from([*"0123456789", " ", " ", " ", "\t", "\n", "-", "+", ".", "x", "٣"]), max_size=12)


@given(near_runs.map(" ".join) | near_texts.map("".join) | masks.map(slow_encode))
@example("9223372036854775807 9223372036854775807 1 1")  # starts and ends that only look sorted once they overflow
@example("1 18446744073709551617")
@example("1 9223372036854775807 5 18446744073709551617")
@example("000000000000000000001 1")
@example("01 1 3 002")
@example("\N{NO-BREAK SPACE}1 1")
def test_every_text_is_read_or_refused_after_the_definition(text):
    expected = slow_decode(text, 5, 7)
    try:
        decoded = rle.decode(text, height=5, width=7).tolist()
    except DataError:
        decoded = None
    assert decoded == expected


@given(few, st.sampled_from([bool, np.int8, np.uint8, np.uint16, np.int64, np.float32]), st.integers(0, 9))
@pytest.mark.slow
def test_few_pixels_are_found_wherever_they_lie(pixels, dtype, offset):
    memory = np.zeros(offset + 40 * 60, dtype=dtype)
    memory[[offset + pixel for pixel in pixels]] = 1
    mask = memory[offset:].reshape(40, 60)
    for seen in (mask, mask[:, ::-1], mask.T, mask[:37, 3:], mask[::2]):
        text = rle.encode(seen)
        assert text == slow_encode(seen)
        assert np.array_equal(rle.decode(text, height=seen.shape[0], width=seen.shape[1]), seen != 0)


@pytest.mark.parametrize("value", [-1, 2, 127, -128])
def test_everything_but_zero_belongs_to_the_mask(value):
    assert rle.encode(np.array([[0, value, 1], [value, 0, 0]], dtype=np.int8)) == "2 3"


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_a_mask_without_pixels(shape):
    assert rle.encode(np.zeros(shape, dtype=bool)) == ""
    assert rle.decode("", height=shape[0], width=shape[1]).shape == shape
    with pytest.raises(DataError, match="ends at pixel 1"):
        rle.decode("1 1", height=shape[0], width=shape[1])


def test_numbers_of_every_length():
    side = 1100  # more pixels than numbers in the largest table
    for height, width in ((side, side), (900, side), (310, 360), (9, 11)):
        mask = np.zeros((height, width), dtype=bool)
        starts = [number for number in (1, 9, 11, 99, 101, 9999, 99_999, 999_999, 1_048_577) if number < mask.size]
        mask.reshape(-1)[[number - 1 for number in starts]] = True
        mask[-1, -2:] = True
        assert rle.encode(mask) == " ".join([*(f"{number} 1" for number in starts), f"{mask.size - 1} 2"])
    assert (side * side).bit_length() > rle.TABLE_BITS
    assert rle.encode(np.ones((side, side), dtype=bool)) == f"1 {side * side}"


@given(st.lists(masks.map(slow_encode).filter(bool) | st.just("") | near_texts.map("".join), min_size=1, max_size=5))
def test_several_texts_are_decoded_as_one_by_one(texts):
    expected = [slow_decode(text, 12, 12) for text in texts]
    places = [f"row {number}" for number in range(len(texts))]
    if None in expected:
        with pytest.raises(DataError) as caught:
            rle.decode_all(texts, height=12, width=12, places=places)
        refused = [place for place, mask in zip(places, expected, strict=True) if mask is None]
        assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == refused
    else:
        assert rle.decode_all(texts, height=12, width=12, places=places).tolist() == expected


def test_a_run_never_reaches_into_the_next_image():
    with pytest.raises(DataError, match="ends at pixel 13"):
        rle.decode_all(["1 2 11 3", "4 1"], height=3, width=4)


def test_missing_texts_among_others():
    masks = rle.decode_all(["1 1", None, float("nan"), "", "12 1"], height=3, width=4)
    assert masks.sum(axis=(1, 2)).tolist() == [1, 0, 0, 0, 1]


def test_no_texts_are_no_masks():
    assert rle.decode_all([], height=3, width=4).shape == (0, 3, 4)


def test_a_decoded_mask_may_be_changed():
    for text in ("", "2 3", "2\t3"):
        mask = rle.decode(text, height=3, width=4)
        mask[0, 0] = True
        assert mask[0, 0]


def test_rows_first_counted_from_one():
    mask = rle.decode("1 1 3 2", height=2, width=3)  # the second run goes on in the second row
    assert mask.tolist() == [[True, False, True], [True, False, False]]
    assert rle.encode(mask) == "1 1 3 2"


def test_views_and_column_major_memory_do_not_change_the_order():
    mask = np.zeros((4, 6), dtype=bool)
    mask[1, 2:5] = True
    assert rle.encode(np.asfortranarray(mask)) == rle.encode(mask) == "9 3"
    assert rle.encode(np.repeat(mask[:, :, None], 3, axis=2)[:, :, 1]) == "9 3"


@pytest.mark.parametrize("text", ["\N{NO-BREAK SPACE}", "\x1c", "\N{EM SPACE} "])
def test_blanks_of_other_alphabets_are_no_empty_mask(text):
    with pytest.raises(DataError, match="is not a whole number"):
        rle.decode(text, height=3, width=4)


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
