"""Components, datasets and stores become objects: what is handed in, what is said when a factory fails, no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gisegkit.build.data import ExperimentData
from gisegkit.build.dataset import build_component
from gisegkit.data.phantom.writer import write_phantom
from gisegkit.data.store.layout import Layout
from gisegkit.errors import ComponentError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.registry.kinds import Component, Owner

OWNER = Owner("giseg-test", "1.2")
RECIPE = Path(__file__).parents[2] / "recipes" / "unet_effb1.toml"


def needs_a_number(*, size, factor=1.0):
    """Fails on some numbers."""
    if factor < 0:
        raise ValueError("factor below zero")
    return size, factor


@pytest.fixture
def registries():
    found = load_plugins(selection="none").registries
    found["augmentation"].add(Component("augmentation", "number", needs_a_number, OWNER))
    found["loss"].add(Component("loss", "lost", "no_such_module_anywhere:Loss", OWNER))
    return found


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("dataset") / "p", cases=1, days=1, slices=8, seed=1)


def test_only_what_the_signature_names_is_handed_in(registries):
    spec = ComponentSpec("augmentation", "number", {"factor": 2.0})
    assert build_component(spec, registries, size=(1, 2), steps=3) == ((1, 2), 2.0)


def test_a_failing_factory_is_named_with_place_owner_and_cause(registries):
    spec = ComponentSpec("augmentation", "number", {"factor": -1.0}, place="r.toml:7")
    with pytest.raises(ComponentError, match=r"r.toml:7: augmentation 'number' of giseg-test 1.2 .*factor below zero"):
        build_component(spec, registries, size=(1, 2))


def test_a_target_that_cannot_be_imported_is_named(registries):
    with pytest.raises(ComponentError, match=r"loss 'lost' of giseg-test 1.2.*no_such_module_anywhere"):
        build_component(ComponentSpec("loss", "lost"), registries)


@pytest.mark.parametrize(
    ("sets", "layout"),
    [
        ([], Layout((224, 224), "stretch", "nearest")),
        (["input.resize=fit", "input.size=[64, 80]"], Layout((64, 80), "fit", "nearest")),
        (["input.store=native"], Layout()),
        (["normalization.name=percentile"], Layout()),
        (["normalization.name=zscore", "normalization.over=scan"], Layout()),
        (["normalization.name=dtype"], Layout((224, 224), "stretch", "nearest")),
    ],
)
def test_the_recipe_settles_how_slices_are_kept(registries, written, sets, layout):
    recipe = load_recipe(RECIPE, registries=registries, overrides=[f"dataset.root={written}", *sets])
    assert ExperimentData(recipe, registries).store.layout == layout


def test_no_store_where_none_is_wanted(registries, written):
    recipe = load_recipe(RECIPE, registries=registries, overrides=[f"dataset.root={written}", "input.store=off"])
    assert ExperimentData(recipe, registries).store is None


@pytest.mark.slow
def test_preparing_does_without_torch(written, tmp_path):
    code = f"""
import os, sys
from gisegkit.cli import main
os.environ["GISEG_CACHE"] = {str(tmp_path)!r}
try:
    main(["prepare", {str(RECIPE)!r}, "--set", "dataset.root={written}"])
except SystemExit as error:
    print("exit", error.code)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "prepared: 8 slices, 8 of them now" in done.stdout
    assert done.stdout.split()[-3:] == ["exit", "0", "False"]
