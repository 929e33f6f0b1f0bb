"""Each rule of input, normalization and split on both sides of its limit."""

import math
from dataclasses import replace

import pytest

from gisegkit.build.draft.data_rules import choose_input, choose_normalization, choose_split, is_ct, window

SIDE = 192


def inputs(facts, **changes):
    return dict(choose_input(replace(facts, **changes), side=SIDE, crop=SIDE).values)


# --- input ---


@pytest.mark.parametrize(
    ("size", "expected"),
    [((192, 192), [192, 192]), ((200, 180), [192, 192]), ((210, 220), [224, 224]), ((20, 100), [32, 96])],
)
def test_whole_slices_have_the_nearest_sides_that_can_be_halved_five_times(facts, size, expected):
    assert inputs(facts, size=size, step=0) == {"size": expected}


@pytest.mark.parametrize(("height", "shrunk"), [(218, False), (220, True)])
def test_slices_are_shrunk_from_a_third_more_pixels_than_the_device_is_given(facts, height, shrunk):
    assert (height * height > 1.3 * SIDE**2) is shrunk
    assert inputs(facts, size=(height, height))["size"] == ([192, 192] if shrunk else [224, 224])


def test_shrinking_keeps_the_shape(facts):
    height, width = inputs(facts, size=(400, 1600), widths={"a": 100.0})["size"]
    assert (height, width) == (96, 384) and height * width == SIDE**2
    assert inputs(facts, size=(410, 1600), widths={"a": 100.0})["size"] == [128, 384]  # never finer than promised


@pytest.mark.parametrize(("thin", "mode"), [(10.1, None), (9.9, "crop")])
def test_what_would_become_finer_than_five_pixels_is_cropped(facts, thin, mode):
    """384 pixels become 192, so that 10 become 5."""
    assert inputs(facts, size=(384, 384), widths={"a": thin}).get("mode") == mode
    assert inputs(facts, size=(384, 384), widths={"a": 100.0}, gap=thin).get("mode") == mode


@pytest.mark.parametrize(
    ("thin", "expected"),
    [
        (6.0, [192, 192]),  # would have less than 6 pixels
        (12.0, [96, 96]),
        (7.5, [160, 160]),  # 6 / 7.5 * 192 = 153.6
        (1000.0, [96, 96]),
        (4.0, [192, 192]),
    ],
)
def test_a_slow_device_gets_slices_as_small_as_the_finest_structure_allows(facts, thin, expected):
    small = replace(facts, size=(192, 192), widths={"a": thin}, gap=1e9, step=0)
    assert choose_input(small, side=SIDE, crop=SIDE, quick=True).values == {"size": expected}
    assert choose_input(small, side=SIDE, crop=SIDE).values == {"size": [192, 192]}


def test_small_slices_are_never_cropped(facts):
    assert "mode" not in inputs(facts, size=(192, 192), widths={"a": 1.0})


@pytest.mark.parametrize(
    ("side", "thin", "scale", "crops"),
    [
        (384, 3.0, None, 4),  # crops of 192: 4 cover the slice
        (1000, 3.0, None, 8),  # 28 would
        (4000, 19.9, None, 8),
        (4000, 20.1, 0.5, 8),  # 10 pixels are left, twice what is needed
        (4000, 80.0, 0.125, 7),  # (4000 / 8)^2 / 192^2 = 6.8
    ],
)
def test_crops_cover_the_slice_at_a_scale_that_keeps_ten_pixels(facts, side, thin, scale, crops):
    found = inputs(facts, size=(side, side), widths={"a": thin})
    assert found["mode"] == "crop" and found["size"] == [192, 192]
    assert found.get("scale") == scale and found["crops"] == crops
    assert crops == min(8, math.ceil((side * (scale or 1)) ** 2 / 192**2))


def test_crops_have_a_side_of_their_own(facts):
    fine = replace(facts, size=(999, 999), widths={"a": 3.0})
    assert choose_input(fine, side=SIDE, crop=128).values["size"] == [128, 128]


def test_a_crop_is_not_larger_than_the_slice(facts):
    assert inputs(facts, size=(100, 2000), widths={"a": 3.0})["size"] == [96, 96]


def test_slices_of_different_shapes_are_padded_unless_they_are_cropped(facts):
    assert "resize" not in inputs(facts, stretch=1.05)
    assert inputs(facts, stretch=1.2)["resize"] == "fit"
    assert "resize" not in inputs(facts, stretch=1.2, size=(999, 999), widths={"a": 3.0})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"slices": 3}),
        ({"step": 2}, {"slices": 3, "stride": 2}),
        ({"step": 3}, {}),
        ({"step": 0, "neighbors": 0.0}, {}),
        ({"neighbors": 0.81}, {"slices": 3}),
        ({"neighbors": 0.79}, {}),
        ({"channels": 3}, {}),
    ],
)
def test_neighbors_are_channels_where_most_slices_have_near_ones(facts, changes, expected):
    found = inputs(facts, **changes)
    assert {key: found[key] for key in ("slices", "stride") if key in found} == expected


def test_every_choice_has_a_reason(facts):
    cropped = replace(facts, size=(999, 999), widths={"a": 3.0})
    for one in (facts, cropped, replace(facts, step=0), replace(facts, step=9), replace(facts, neighbors=0.1)):
        assert all(line.endswith(".") for line in choose_input(one, side=SIDE, crop=SIDE).why)
        assert len(choose_input(one, side=SIDE, crop=SIDE).why) >= 2


# --- normalization ---


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dtype": "uint8", "high": 255}, {"name": "dtype"}),
        ({"dtype": "uint8", "high": 127}, {"name": "percentile", "over": "scan"}),
        ({"dtype": "uint8", "high": 128}, {"name": "dtype"}),
        ({"dtype": "uint8", "high": 255, "exposure": 1.6, "step": 0}, {"name": "percentile", "over": "slice"}),
        ({"dtype": "uint8", "high": 255, "exposure": 1.4, "step": 0}, {"name": "dtype"}),
        ({"dtype": "uint16"}, {"name": "percentile", "over": "scan"}),
        ({"dtype": "uint16", "step": 0}, {"name": "percentile", "over": "slice"}),
        ({"dtype": "float32", "high": 1.0}, {"name": "dtype"}),
        ({"dtype": "float32", "high": 1.1}, {"name": "percentile", "over": "scan"}),
        ({"dtype": "float32", "low": -0.1, "high": 1.0}, {"name": "percentile", "over": "scan"}),
        ({"dtype": "int16", "low": -1024, "high": 3000}, {"name": "window", "level": 1050.0, "width": 3800.0}),
        ({"dtype": "int16", "low": -300, "high": 3000}, {"name": "percentile", "over": "scan"}),
        ({"dtype": "uint16, uint8"}, {"name": "percentile", "over": "scan"}),
    ],
)
def test_the_normalization_follows_from_type_and_range(facts, changes, expected):
    part = choose_normalization(replace(facts, **changes))
    assert part.values == expected
    assert part.why[0].startswith("Images are ")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1024, 3000, True),
        (-1000, 500, True),
        (-1023.7, 448.9, True),  # resampled
        (-899, 500, False),
        (-1101, 500, False),
        (-1024, 30000, False),
        (0, 4095, False),
    ],
)
def test_hounsfield_units_begin_at_air(facts, low, high, expected):
    assert is_ct(replace(facts, low=low, high=high)) is expected


def test_the_window_holds_the_classes_with_half_as_much_on_both_sides(facts):
    level, width = window(replace(facts, inside=(20.0, 140.0)))
    assert (level - width / 2, level + width / 2) == (20 - 60, 140 + 60)
    assert window(replace(facts, inside=(50.0, 52.0))) == (51, 100)


# --- split ---


@pytest.mark.parametrize(
    ("cases", "scans", "labelled", "expected", "told"),
    [
        (10, 20, 100, {"folds": 5}, ""),
        (5, 5, 5, {"folds": 5}, ""),
        (3, 4, 18, {"folds": 3}, ""),
        (2, 2, 2, {"folds": 2}, ""),
        (1, 4, 40, {"folds": 4, "group": "scan"}, "one case"),
        (1, 1, 40, {"folds": 5, "group": "slice"}, "one case"),
        (1, 1, 1, {"folds": 1}, "one labelled slice"),
    ],
)
def test_folds_are_as_many_as_there_are_cases(facts, cases, scans, labelled, expected, told):
    part, lines = choose_split(replace(facts, cases=cases, scans=scans, labelled=labelled))
    assert part.values == expected
    assert (told in " ".join(lines)) if told else not lines


def test_a_split_that_the_data_give_is_not_drawn_again(facts):
    part, lines = choose_split(replace(facts, given=(7, 2)))
    assert part.values == {} and not lines
    assert part.why == ("The table's column split says what each slice does: 7 slices train, 2 validate.",)
