"""Messages: what a user reads, and the nearest spelling."""

from __future__ import annotations

import re

import pytest

from gisegkit import errors
from gisegkit.errors import GisegError, Mistake, RecipeError, count, did_you_mean, in_a_sentence, listed, parameters


def test_every_error_is_a_giseg_error_and_stands_in_the_tree():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) >= 7
    for kind in kinds:
        assert issubclass(kind, GisegError)
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__)


def test_submission_error_is_a_data_error():
    assert issubclass(errors.SubmissionError, errors.DataError)


def test_recipe_error_prints_every_mistake():
    mistakes = [Mistake("a.toml:3", "unknown key 'x'", "did you mean 'y'?"), Mistake("--set z", "no key=value")]
    error = RecipeError("a.toml", mistakes)
    assert error.mistakes == tuple(mistakes)
    assert str(error).splitlines() == [
        "a.toml: 2 mistakes",
        "  a.toml:3: unknown key 'x'",
        "    did you mean 'y'?",
        "  --set z: no key=value",
    ]
    assert str(RecipeError("a.toml", mistakes[:1])).startswith("a.toml: 1 mistake\n")


@pytest.mark.parametrize(
    ("word", "options", "expected"),
    [
        ("tverski", ["bce", "dice", "tversky"], "did you mean 'tversky'?"),
        ("TVERSKY", ["bce", "tversky"], "did you mean 'tversky'?"),
        ("batch-size", ["batch_size", "epochs"], "did you mean 'batch_size'?"),
        ("lr", ["lr_rate_of_the_schedule", "momentum"], "did you mean 'lr_rate_of_the_schedule'?"),
        ("dice_loss_of_mine", ["bce", "dice"], "did you mean 'dice'?"),
        ("zzz", ["bce", "dice"], ""),
        ("", ["bce"], ""),
        ("zzz", [""], ""),
        ("x", [], ""),
    ],
)
def test_did_you_mean(word, options, expected):
    assert did_you_mean(word, options) == expected


def test_did_you_mean_names_at_most_the_limit():
    options = [f"metric_{index}" for index in range(9)]
    assert did_you_mean("metric_", options).count("metric_") == 3
    assert did_you_mean("metric_", iter(options), limit=1).count("metric_") == 1


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


def test_the_first_names_are_listed_and_the_rest_counted():
    assert listed([]) == "" and listed(("a",)) == "a"
    assert listed(range(5)) == "0, 1, 2, 3, 4"
    assert listed(iter("abcdef")) == "a, b, c, d, e and 1 more"
    assert listed("abcdef", shown=2) == "a, b and 4 more"
