"""The demo: any recipe on phantoms, without downloads, and every value that it changes is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from gisegkit.demo import MODEL, ORIGIN, SMALL, demo_settings, overridden
from gisegkit.errors import RecipeError
from gisegkit.recipe import load_recipe, read_document
from gisegkit.registry import Component, Owner

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))
PHANTOM = '"""Toys."""\n\ndef f(*, cases: int = 1, days: int = 1, slices: int = 8): ...\n'


@pytest.fixture
def demo(toys, make_module, write_recipe):
    """Loads a recipe as ``--demo`` does; gives the recipe and the lines."""
    toys["dataset"].add(Component("dataset", "phantom", f"{make_module(PHANTOM)}:f", Owner("toys", "1.0")))

    def demo(text: str, *overrides: str):
        path = write_recipe(text)
        document = read_document(path)
        settings = demo_settings(document, toys, overrides)
        lines = overridden(document, settings)
        return load_recipe(path, registries=toys, overrides=overrides, preset=settings), lines

    return demo


def test_the_demo_replaces_data_weights_and_size_and_says_so(load, demo):
    recipe, lines = demo(load.minimal + "[train]\nepochs = 50\nbatch_size = 8\nclip_norm = 0.5\n")
    assert recipe.demo
    assert recipe.dataset.as_dict() == {
        key.removeprefix("dataset."): value for key, value in SMALL.items() if key.startswith("dataset.")
    }
    assert recipe.model.params["weights"] == "none"
    assert (recipe.input.size, recipe.train.epochs) == (tuple(SMALL["input.size"]), SMALL["train.epochs"])
    assert recipe.train.clip_norm == 0.5
    assert 'demo: dataset.name = "phantom" (the recipe says "toy")' in lines
    assert f"demo: train.epochs = {SMALL['train.epochs']} (the recipe says 50)" in lines
    assert 'demo: model.weights = "none"' in lines
    assert not [line for line in lines if "batch_size = 8" in line and "train" in line], "it is what the recipe says"
    changed = {line.split()[1] for line in lines}
    assert changed == {*SMALL, "demo", "model.weights"} - {"train.batch_size"}


def test_what_the_user_sets_wins(load, demo):
    recipe, _ = demo(load.minimal, "train.epochs=2", "dataset.cases=3", "model.weights=imagenet")
    assert (recipe.train.epochs, recipe.dataset.params["cases"]) == (2, 3)
    assert recipe.model.params["weights"] == "imagenet"


def test_another_model_starts_from_random_weights_too(load, demo):
    text = load.minimal.replace('name = "net"', 'name = "other"')
    assert "weights" not in demo(text)[0].model.params
    assert demo(text, "model.name=net")[0].model.params["weights"] == "none"
    assert demo(text, 'model.name = "net"', "model.depth=3")[0].model.params["weights"] == "none"
    assert demo(load.minimal, "model.name=other")[0].model.as_dict() == {"name": "other", "width": MODEL["width"]}


def test_a_demo_never_runs_on_other_data(load, demo):
    with pytest.raises(RecipeError) as caught:
        demo(load.minimal, "dataset.name=toy", "dataset.root=x")
    assert {mistake.place for mistake in caught.value.mistakes} == {ORIGIN}


@pytest.mark.parametrize(
    "text", ["", "model = 3\n", "[model]\n", '[model]\nname = "nothing"\n', "dataset = 3\n", "[[model]]\n"]
)
def test_a_recipe_with_mistakes_is_refused_as_usual(demo, text):
    with pytest.raises(RecipeError):
        demo(text)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_has_its_demo(path, registries, monkeypatch):
    text = path.read_text()
    if "cutmix" in path.stem:
        module = "giseg_cutmix.transform:CutMix"
        monkeypatch.syspath_prepend(Path(__file__).parent.parent / "plugins" / "giseg-cutmix")
        monkeypatch.setattr("gisegkit.recipe_check._unmet", lambda requirements: [])
        cutmix = Component("batch_transform", "cutmix", module, Owner("giseg-cutmix", "?"))
        monkeypatch.setitem(registries["batch_transform"]._components, "cutmix", cutmix)
    assert 'weights = "imagenet"' in text or path.stem == "r2unet", "the paper's own encoder has none"
    document = read_document(path)
    recipe = load_recipe(path, registries=registries, preset=demo_settings(document, registries))
    assert (recipe.demo, recipe.dataset.name, recipe.model.params["weights"]) == (True, "phantom", "none")
    assert recipe.name == path.stem


def test_losses_that_begin_or_end_at_an_epoch_keep_their_share_of_the_epochs(load, demo):
    text = load.minimal.replace("[[loss]]", "[[loss]]\nend_epoch = 56", 1)
    recipe, lines = demo(text + '[[loss]]\nname = "bce"\nstart_epoch = 57\n[train]\nepochs = 70\n')
    assert [(loss.start_epoch, loss.end_epoch) for loss in recipe.loss] == [(1, 22), (23, 0)]
    assert "demo: loss.0.end_epoch = 22 (the recipe says 56)" in lines
