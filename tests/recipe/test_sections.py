"""Recipes: filled with every default, equal after writing and reading, changed by --set, refused when unreadable."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from gisegkit.recipe.check import section_types
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import FOLLOWS, SECTIONS, ComponentSpec, Recipe
from gisegkit.registry.kinds import KINDS

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_the_smallest_recipe_is_filled(load):
    recipe = load()
    assert recipe.name == "small"
    assert (recipe.seed, recipe.requires, recipe.demo) == (0, (), False)
    assert recipe.dataset.params == {"root": "data", "cases": 4}  # labels = None is left to the factory
    assert recipe.model == ComponentSpec(
        "model",
        "net",
        {"encoder": "resnet34", "depth": 5, "weights": "imagenet", "channels": [64, 32]},
        place=f"{recipe.source}:7",
    )
    assert [spec.as_dict() for spec in recipe.loss] == [
        {"name": "bce", "weight": 1.0, "start_epoch": 1, "end_epoch": 0, "smooth": 0.0, "reduce": "mean"}
    ]
    assert recipe.augmentation.as_dict() == {"name": "none"}
    assert recipe.schedule.as_dict() == {"name": "constant", "warmup": 0.0}
    assert [spec.name for spec in recipe.metric] == ["dice"]
    assert (recipe.batch_transform, recipe.postprocess, recipe.tracker) == ((), (), ())
    for name, kind in SECTIONS.items():
        assert getattr(recipe, name) == kind()


def test_components_come_in_the_order_of_the_kinds(load):
    kinds = [spec.kind for spec in load().components()]
    assert kinds == [kind for kind in KINDS if kind in kinds]
    of_recipes = [kind for kind in KINDS.values() if kind.home == "recipe"]
    assert len(kinds) == len([kind for kind in of_recipes if kind.needed or kind.default])


def test_every_kind_of_a_recipe_has_an_attribute_that_editors_know(load):
    """One component where the table is ``[kind]``, a tuple where it is ``[[kind]]``."""
    recipe = load()
    for kind in KINDS.values():
        if kind.home == "recipe":
            assert kind.name in vars(Recipe), kind.name
            assert isinstance(getattr(recipe, kind.name), tuple) == kind.many
    assert set(FOLLOWS) == set(SECTIONS) and set(FOLLOWS.values()) <= set(KINDS)


def test_a_recipe_is_frozen(load):
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().seed = 3


def test_values_are_converted(load):
    recipe = load(load.minimal + "lr = 1\n[input]\nsize = [32, 48]\n[evaluate]\nthreshold = 1\n")
    assert (recipe.optimizer.params, recipe.input.size) == ({"lr": 1.0}, (32, 48))
    assert type(recipe.optimizer.params["lr"]) is type(recipe.evaluate.threshold) is float


def test_micro_batch_and_monitor(load):
    assert load().train.micro_batch == "auto"
    assert load(load.minimal, "train.micro_batch=8").train.micro_batch == 8
    assert load().monitor == "dice"
    two = ("metric.0.name=iou", "metric.1.name=dice")
    assert load(load.minimal, *two).monitor == "iou"
    assert load(load.minimal, *two, "train.monitor=dice/stomach").monitor == "dice/stomach"


TWICE = '[[metric]]\nname = "dice"\n[[metric]]\nname = "dice"\nas = "dice_scan"\n'


def test_a_metric_twice_under_two_names(load):
    recipe = load(load.minimal + TWICE, "train.monitor=dice_scan/liver")
    assert [(spec.name, spec.label) for spec in recipe.metric] == [("dice", "dice"), ("dice", "dice_scan")]
    assert recipe.as_dict()["metric"] == [{"name": "dice"}, {"name": "dice", "as": "dice_scan"}]
    assert load(recipe.text()).as_dict() == recipe.as_dict()
    assert load(load.minimal + TWICE, "metric.0.as=dice_slice").monitor == "dice_slice"


def test_another_metric_does_not_keep_the_name_of_the_old_ones_scores(load):
    recipe = load(load.minimal + TWICE, "metric.1.name=iou")
    assert [(spec.name, spec.label) for spec in recipe.metric] == [("dice", "dice"), ("iou", "iou")]
    assert recipe.notes == ("--set metric.1.name=iou: left out, because they belong to metric 'dice': as",)
    both = load(load.minimal + TWICE, "metric.1.name=iou", "metric.1.as=mine")
    assert both.metric[1].label == "mine" and both.notes == recipe.notes


def test_the_filled_text_reads_back_equal(load):
    text = "# First line.\n# Second line.\n\n# Not the header.\n" + load.minimal
    text += '[[tracker]]\nname = "anything"\nwhen = 1979-05-27\ndeep = {a = [1, {b = "c\\n"}]}\n'
    first = load(text, 'dataset.labels={stomach = 1, "large bowel" = 2}', "seed=4", "split.folds=3")
    assert first.header == "# First line.\n# Second line."
    assert first.text().startswith("# First line.\n# Second line.\n")
    second = load(first.text())
    assert second.as_dict() == first.as_dict()
    assert second.text() == first.text()
    assert second.header == first.header
    assert second.with_components(**first.tables) == first


def test_the_filled_text_has_every_key_of_every_section(load):
    text = load().text()
    for name, kind in SECTIONS.items():
        body = text.split(f"[{name}]\n", 1)[1].split("\n[", 1)[0]
        assert re.findall(r"^(\w+) =", body, re.MULTILINE) == [item.name for item in dataclasses.fields(kind)]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_key_has_help_a_type_and_a_valid_default(section):
    kind, types = SECTIONS[section], section_types(section)
    assert list(types) == [item.name for item in dataclasses.fields(kind)]
    for item in dataclasses.fields(kind):
        assert re.search(rf"^ +{item.name}: ", kind.__doc__, re.MULTILINE), item.name
        assert types[item.name].text != "any value"
        assert types[item.name].convert(item.default) == item.default


# --- files that cannot be read ----------------------------------------------------------------------------------


# --- --set ------------------------------------------------------------------------------------------------------


# --- the project's own recipes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_load_and_their_filled_text_reads_back(path, shipped, write_recipe, monkeypatch):
    monkeypatch.setattr("gisegkit.recipe.check.unmet", lambda requirements: [])  # the plugin may not be installed
    recipe = load_recipe(path, registries=shipped)
    assert recipe.name == path.stem
    again = load_recipe(write_recipe(recipe.text()), registries=shipped)
    assert again.as_dict() == recipe.as_dict()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_open_with_what_they_reproduce_the_score_the_cost_and_the_command(path):
    header = path.read_text().split("\n\n", 1)[0]
    assert all(line.startswith("# ") for line in header.splitlines())
    reproduces = header.split("Reproduces:", 1)[1].split("Cost:", 1)[0]
    assert re.search(r"\b0\.\d{3}\b", reproduces), "the deck's score"
    assert f"Command: giseg run recipes/{path.name}" in header


def test_the_recipes_of_the_first_issue_are_there():
    names = {path.stem for path in RECIPES}
    assert names >= {"unet_effb1", "unet_resnet34", "unetplusplus_effb1", "unetplusplus_effb1_mixup"}
