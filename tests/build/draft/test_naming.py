"""Suffixes and cases are found in names; every template equals the expression that it stands for."""

from pathlib import Path

import pytest

from gisegkit.build.draft.naming import cases_of, suffix_beside, suffixes_of
from gisegkit.errors import DataError


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (("a", "a_mask", "b", "b_mask"), "_mask"),
        (("a", "a_Mask"), "_Mask"),
        (("a", "a_seg", "b"), "_seg"),
        (("a", "b"), ""),
        (("a_mask", "b_mask"), ""),
        ((), ""),
    ],
)
def test_masks_beside_their_images_have_a_suffix(names, suffix):
    assert suffix_beside(names) == suffix


@pytest.mark.parametrize(
    ("images", "masks", "keys"),
    [
        (("a", "b"), ("a", "b"), {}),
        (("a", "b"), ("a_mask", "b_mask"), {"mask_suffix": "_mask"}),
        (("a_0000", "b_0000"), ("a", "b"), {"image_suffix": "_0000"}),
        (("a_0000", "a_0001", "b_0000", "b_0001"), ("a", "b"), {"image_suffix": "_0000"}),
        (("a_img", "b_img"), ("a", "b"), {"image_suffix": "_img"}),
        (("a_img", "b_img"), ("a_seg", "b_seg"), {"image_suffix": "_img", "mask_suffix": "_seg"}),
        (("a", "b"), ("a",), {}),
        (("x", "y"), ("a", "b"), {}),
    ],
)
def test_names_that_differ_by_an_ending_give_a_suffix(images, masks, keys):
    assert suffixes_of(images, masks, Path("masks")) == keys


def test_names_that_begin_differently_are_refused_with_examples():
    with pytest.raises(DataError, match=r"masks: names of images and masks differ \(a, b; m_a, m_b\).*begin with 'm_'"):
        suffixes_of(("a", "b"), ("m_a", "m_b"), Path("masks"))


@pytest.mark.parametrize(
    ("names", "key", "value"),
    [
        (("p1_1", "p1_2", "p2_1", "p2_2"), "names", "{case}_{slice}"),
        (("p1-s01", "p1-s02", "p2-s01", "p2-s02"), "names", "{case}-s{slice}"),
        (("p1_d0_1", "p1_d0_2", "p2_d0_1", "p2_d0_2"), "pattern", None),
    ],
)
def test_cases_are_a_template_where_one_says_the_same_as_the_expression(names, key, value):
    found, text, reason = cases_of(names)
    assert found == key and (value is None or text == value)
    assert "2 cases (p1 ... p2)" in reason


@pytest.mark.parametrize("names", [(), ("a", "b"), ("1", "2", "3")])
def test_names_without_cases_give_none(names):
    assert cases_of(names) is None
