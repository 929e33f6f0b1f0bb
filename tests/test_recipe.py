"""Recipes: filled with every default, equal after writing and reading, changed by --set, refused when unreadable."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from gisegkit.errors import RecipeError
from gisegkit.recipe import SECTIONS, ComponentSpec, load_recipe
from gisegkit.recipe_check import section_types
from gisegkit.registry import KINDS

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


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
    assert len(kinds) == 7


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
    assert dataclasses.replace(second, **{kind: getattr(first, kind) for kind in KINDS}) == first


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


def test_a_file_with_a_byte_order_mark_and_windows_line_ends(load, toys, tmp_path):
    path = tmp_path / "windows.toml"
    path.write_bytes(("# Header.\n" + load.minimal).replace("\n", "\r\n").encode("utf-8-sig"))
    recipe = load_recipe(path, registries=toys)
    assert recipe.header == "# Header."
    assert load(recipe.text()).as_dict() == recipe.as_dict()


# --- files that cannot be read ----------------------------------------------------------------------------------


def refused(path, registries):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, registries=registries)
    return caught.value.mistakes


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


# --- --set ------------------------------------------------------------------------------------------------------


def test_overrides(load):
    recipe = load(
        load.minimal,
        "train.epochs=3",
        " train.clip_norm = 1 ",
        "loss.0.weight=0.7",
        "loss.1.name=tversky",
        "loss.1.alpha=0.3",
        "input.size=[32, 64]",
        "dataset.root=other/folder = x",
        "model.encoder=resnet18",
        "name=other",
    )
    assert (recipe.train.epochs, recipe.train.clip_norm, recipe.input.size) == (3, 1.0, (32, 64))
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
        ("model.classes=3", "'classes' of model 'net' is settled by the dataset", "remove the line"),
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


# --- the project's own recipes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_load_and_their_filled_text_reads_back(path, shipped, write_recipe, monkeypatch):
    monkeypatch.setattr("gisegkit.recipe_check._unmet", lambda requirements: [])  # the plugin may not be installed
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
