"""gisegkit.recipe.tta."""

from __future__ import annotations

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe.tta import View, mistakes


@pytest.mark.parametrize(
    ("text", "view"),
    [("hflip", View("hflip")), ("vflip", View("vflip")), ("rot90", View("rot90")), ("scale:0.9", View("scale", 0.9)),
     ("scale:2", View("scale", 2.0))],
)  # fmt: skip
def test_a_text_names_a_view(text, view):
    assert View.parse(text) == view
    assert list(mistakes([text], (64, 64))) == []


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("hflipp", r"did you mean 'hflip' or 'vflip'\? Valid: hflip, vflip, rot90, or scale:0.9 with a factor."),
        ("scale", "Valid: hflip"),
        ("hflip:2", "Valid: hflip"),
        ("", "Valid: hflip"),
        ("scale:", "Valid: a factor from 0.25 to 4 that is not 1."),
        ("scale:x", "Valid: a factor"),
        ("scale:1", "Valid: a factor"),
        ("scale:0.2", "Valid: a factor"),
        ("scale:4.5", "Valid: a factor"),
        ("scale:nan", "Valid: a factor"),
        ("scale:-1", "Valid: a factor"),
    ],
)
def test_another_text_is_a_mistake_with_its_remedy(text, remedy, recipe):
    ((found, said),) = mistakes([text], (64, 64))
    assert found == f'predict.tta has "{text}"'
    with pytest.raises(ValueError, match=remedy):
        View.parse(text)
    with pytest.raises(RecipeError, match=remedy):
        recipe(f'predict.tta=["{text}"]')
    assert said


def test_what_does_not_fit_the_size_is_a_mistake(recipe):
    assert [found for found, _ in mistakes(["rot90", "hflip"], (64, 96))] == [
        'predict.tta has "rot90", and input.size = [64, 96] is not square'
    ]
    with pytest.raises(RecipeError, match=r"--set predict.tta=.*is not square\n.*make input.size square, or use hflip"):
        recipe("input.size=[32, 64]", 'predict.tta=["rot90"]')
    ((found, _),) = mistakes(["scale:1.001"], (64, 64))
    assert found == 'predict.tta has "scale:1.001", which leaves input.size = [64, 64] as it is'


def test_a_view_that_is_listed_twice_is_a_mistake():
    found = [found for found, _ in mistakes(["hflip", "scale:0.9", "x", "hflip", "scale:0.90"], (64, 64))]
    assert found == ['predict.tta has "x"', 'predict.tta has "hflip" twice', 'predict.tta has "scale:0.90" twice']


def test_the_size_of_a_view():
    assert View("scale", 0.9).size((224, 101)) == (202, 91)
    assert View("rot90").size((64, 96)) == (96, 64)
    assert View("hflip").size((64, 96)) == (64, 96)


def test_the_filled_recipe_says_it(recipe):
    chosen = recipe('predict.tta=["hflip", "scale:1.1"]')
    assert chosen.predict.tta == ("hflip", "scale:1.1") and recipe().predict.tta == ()
    assert 'tta = ["hflip", "scale:1.1"]' in chosen.text()
