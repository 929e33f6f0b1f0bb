"""Numbers in sentences read as a person would write them."""

from __future__ import annotations

import pytest

from gisegkit.words import count, in_a_sentence, parameters


@pytest.mark.parametrize(
    ("number", "noun", "plural", "text"),
    [
        (0, "scan", "", "0 scans"),
        (1, "scan", "", "1 scan"),
        (2, "scan", "", "2 scans"),
        (1, "class", "classes", "1 class"),
        (3, "class", "classes", "3 classes"),
        (38496, "slice", "", "38496 slices"),
    ],
)
def test_count(number, noun, plural, text):
    assert count(number, noun, plural) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3075, "3,075 parameters"),
        (1, "1 parameter"),
        (7_794_000, "7.79 million parameters"),
        (99_999, "99,999 parameters"),
    ],
)
def test_parameters(number, text):
    assert parameters(number) == text


def test_in_a_sentence():
    assert in_a_sentence("There are: a.") == "there are: a."
    assert in_a_sentence("") == ""
