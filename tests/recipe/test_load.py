"""Recipes are read, overridden and checked; every mistake is in one report."""

from __future__ import annotations

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe.load import load_recipe


def refused(path, registries):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, registries=registries)
    return caught.value.mistakes


def test_a_file_with_a_byte_order_mark_and_windows_line_ends(load, toys, tmp_path):
    path = tmp_path / "windows.toml"
    path.write_bytes(("# Header.\n" + load.minimal).replace("\n", "\r\n").encode("utf-8-sig"))
    recipe = load_recipe(path, registries=toys)
    assert recipe.header == "# Header."
    assert load(recipe.text()).as_dict() == recipe.as_dict()


def test_no_such_file_names_those_that_there_are(write_recipe, toys):
    path = write_recipe(name="mine.toml")
    (mistake,) = refused(path.with_name("mien.toml"), toys)
    assert mistake.place == str(path.with_name("mien.toml"))
    assert mistake.found == "no such recipe"
    assert mistake.remedy == f"recipes there: {path}"
    (mistake,) = refused(path.parent / "nowhere" / "x.toml", toys)
    assert "relative to the current folder" in mistake.remedy


def test_a_folder_a_binary_file_and_a_path_through_a_file(write_recipe, toys, tmp_path):
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\x89PNG\xff\xfe\x00")
    for path in (tmp_path, binary, write_recipe() / "inner.toml", "null\0byte"):
        (mistake,) = refused(path, toys)
        assert mistake.found.startswith("cannot be read: ")
        assert "text file in UTF-8" in mistake.remedy


def test_an_empty_file_says_all_that_is_needed(write_recipe, toys):
    path = write_recipe("")
    mistakes = refused(path, toys)
    assert {mistake.place for mistake in mistakes} == {f"{path}:1"}
    found = {mistake.found for mistake in mistakes}
    tables = {f"the recipe has no {table}" for table in ("name", "[dataset]", "[model]", "[[loss]]", "[optimizer]")}
    assert found == tables


def test_overrides(load):
    recipe = load(
        load.minimal,
        "train.epochs=3",
        " train.max_grad_norm = 1 ",
        "loss.0.weight=0.7",
        "loss.1.name=tversky",
        "loss.1.alpha=0.3",
        "input.size=[32, 64]",
        "dataset.root=other/folder = x",
        "model.encoder=resnet18",
        "name=other",
    )
    assert (recipe.train.epochs, recipe.train.max_grad_norm, recipe.input.size) == (3, 1.0, (32, 64))
    assert [(spec.name, spec.weight) for spec in recipe.loss] == [("bce", 0.7), ("tversky", 1.0)]
    assert recipe.dataset.params["root"] == "other/folder = x"
    assert (recipe.model.params["encoder"], recipe.name) == ("resnet18", "other")


def test_the_last_override_wins(load):
    assert load(load.minimal, "seed=1", "seed=2").seed == 2
    assert load(load.minimal, "model.encoder=a", 'model={name = "net", encoder = "b"}').model.params["encoder"] == "b"


@pytest.mark.parametrize("settings", [("model.name=other", "model.width=4"), ("model.width=4", "model.name=other")])
def test_another_component_drops_the_parameters_of_the_old_one(load, settings):
    text = load.minimal.replace('name = "net"', 'name = "net"\nencoder = "resnet18"\ndepth = 3')
    assert load(text, *settings).model.as_dict() == {"name": "other", "width": 4}


@pytest.mark.parametrize(
    ("setting", "found", "remedy"),
    [
        ("train.epochs", "no key=value", "--set train.epochs=3"),
        ("=3", "no key=value", "--set train.epochs=3"),
        ("train.epochs=x", 'train.epochs = "x"', "Valid: a whole number 1 or more."),
        ("train.epochs=0", "train.epochs = 0", "Valid: a whole number 1 or more."),
        ("train.epoch=3", "unknown key 'epoch' in [train]", "did you mean 'epochs'?"),
        ("trian.epochs=3", "unknown table 'trian'", "did you mean 'train'?"),
        ("sed=3", "unknown key 'sed'", "did you mean 'seed'?"),
        ("loss.0.wieght=3", "unknown parameter 'wieght' of loss 'bce'", "did you mean 'weight'?"),
        ("loss.0.smooth=2", "loss.0.smooth = 2", "Valid: a number between 0 and 1."),
        ("loss.1.weight=3", "[[loss]] has no name", "There are: bce, tversky."),
        ("loss.2.weight=3", "loss.2 cannot be reached", "the next free one appends"),
        ("loss.weight=3", "loss.weight names no value", "write loss.0.weight=value"),
        ("loss.0.name=tversky", "loss 'tversky' needs the parameter 'alpha'", "write alpha = ... (a number)"),
        ("model.name=nett", "unknown model 'nett'", "did you mean 'net'? There are: net, other."),
        ("model=net", "model is not written as [model]", "--set model.name=..."),
        ("loss=bce", "loss is not written as [[loss]]", "--set loss.0.name=..."),
        ("loss=[]", "no loss", "write [[loss]] and a name"),
        ("metric=[]", "no metric", "write [[metric]] and a name"),
        ("model.classes=3", "'classes' of model 'net' is set by the dataset", "remove the line"),
        ("train=3", "train = 3", "[train] is a table"),
        ("split.fold=7", "split.fold = 7", "Valid: 0 to 4, because split.folds = 5."),
    ],
)
def test_the_mistake_of_an_override_names_the_override(load, setting, found, remedy):
    with pytest.raises(RecipeError) as caught:
        load(load.minimal, "seed=3", setting)
    (mistake,) = caught.value.mistakes
    assert mistake.place == f"--set {setting}"
    assert mistake.found == found
    assert remedy in mistake.remedy
