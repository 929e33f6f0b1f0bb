"""The sections [evaluate] and [predict] of a recipe: numbers for all classes or by class, and their mistakes."""

from __future__ import annotations

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.prediction import Evaluate, Predict


def test_the_defaults_are_one_number_for_all_classes_and_no_views():
    assert (Evaluate().threshold, Evaluate().presence, Predict().tta) == (0.5, 0.0, ())


@pytest.mark.parametrize("key", ["threshold", "presence"])
@pytest.mark.parametrize("value", [0, 1, 0.25, "{stomach=0.25,default=1}", "{default=0}"])
def test_a_number_or_a_table_is_kept_and_written_again(recipe, key, value, tmp_path, session):
    chosen = recipe(f"evaluate.{key}={value}")
    kept = getattr(chosen.evaluate, key)
    numbers = kept.values() if isinstance(kept, dict) else [kept]
    assert all(type(number) is float for number in numbers)
    (tmp_path / "again.toml").write_text(chosen.text())
    again = load_recipe(tmp_path / "again.toml", registries=session.plugins.registries)
    assert again.evaluate == chosen.evaluate


@pytest.mark.parametrize("key", ["threshold", "presence"])
@pytest.mark.parametrize("value", ["1.5", "-0.1", "true", '"high"', "{stomach=2}", "[0.5]", "{stomach=[1]}"])
def test_another_value_is_a_mistake(recipe, key, value):
    with pytest.raises(RecipeError, match=rf"evaluate\.{key} = .*\n.*Valid: a number between 0 and 1 or a table"):
        recipe(f"evaluate.{key}={value}")


def test_one_class_can_be_set_in_a_table_and_not_in_a_number(recipe):
    sets = ("evaluate.threshold={stomach=0.4,default=0.5}", "evaluate.threshold.stomach=0.3")
    assert recipe(*sets).evaluate.threshold == {"stomach": 0.3, "default": 0.5}
    with pytest.raises(RecipeError, match=r"evaluate\.threshold\.stomach"):
        recipe("evaluate.threshold=0.5", "evaluate.threshold.stomach=0.3")
