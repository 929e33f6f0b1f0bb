"""Roles of datasets and names of scores agree."""

from __future__ import annotations

import pytest

from gisegkit.errors import RecipeError

ONE = '[dataset]\nname = "toy"\nroot = "data"\n'
THREE = "".join(
    f'[[dataset]]\nname = "toy"\nroot = "{root}"\n{role}\n'
    for root, role in (("more", 'role = "extra"'), ("data", ""), ("clinic", 'role = "test"'))
)


def test_one_dataset_trains(load):
    recipe = load()
    assert recipe.dataset.of_kind("role") == "train"
    assert recipe.as_dict()["dataset"] == {"name": "toy", "role": "train", "root": "data", "cases": 4}


def test_several_datasets_with_roles(load):
    recipe = load(load.minimal.replace(ONE, THREE))
    assert [(spec.params["root"], spec.of_kind("role")) for spec in recipe.tables["dataset"]] == [
        ("more", "extra"),
        ("data", "train"),
        ("clinic", "test"),
    ]
    assert recipe.dataset.params["root"] == "data"
    again = load(recipe.text())
    assert again.as_dict() == recipe.as_dict()
    single = load(load.minimal.replace(ONE, ONE.replace("[dataset]", "[[dataset]]")))
    assert single.as_dict() == load().as_dict()


def test_settings_of_the_dataset_are_those_of_the_one_that_trains(load):
    text = load.minimal.replace(ONE, THREE)
    recipe = load(text, "dataset.root=elsewhere", "dataset.2.root=there")
    assert [spec.params["root"] for spec in recipe.tables["dataset"]] == ["more", "elsewhere", "there"]


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (("test", "extra"), 'no datasets have role = "train"'),
        (("train", "train"), '2 datasets have role = "train", which is the default'),
        (("train", "validate"), 'dataset.1.role = "validate".*Valid: one of "train", "extra", "test"'),
    ],
)
def test_roles_that_do_not_fit(load, roles, message):
    tables = "".join(f'[[dataset]]\nname = "toy"\nroot = "{role}"\nrole = "{role}"\n' for role in roles)
    with pytest.raises(RecipeError, match=f"(?s)1 mistake.*{message}"):
        load(load.minimal.replace(ONE, tables))


def test_the_demo_has_one_dataset(load, write_recipe, shipped):
    from gisegkit.build.demo import load_demo

    text = (
        'name = "roles"\n[[dataset]]\nname = "folder"\nroot = "a"\nlabels = {a = 1}\n'
        '[[dataset]]\nname = "folder"\nroot = "b"\nlabels = {a = 1}\nrole = "test"\n'
        '[model]\nname = "r2unet"\n[[loss]]\nname = "bce"\n[optimizer]\nname = "adam"\n'
    )
    recipe, lines = load_demo(write_recipe(text), shipped)
    assert [spec.name for spec in recipe.tables["dataset"]] == ["phantom"]
    assert "demo: one dataset, of phantoms; those with role = extra and test are left out" in lines
