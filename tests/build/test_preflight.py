"""Data are looked at before anything is built: there or not, split, counted, and fit for what the recipe asks."""

from __future__ import annotations

import pytest

from gisegkit.build.data import ExperimentData
from gisegkit.build.preflight import (
    check_monitor_alone,
    idle_settings,
    is_made_on_demand,
    look,
    missing_root,
    steps_of,
)
from gisegkit.data.loaders import EpochSampler
from gisegkit.data.phantom.writer import write_phantom
from gisegkit.errors import ComponentError, DataError, RecipeError
from gisegkit.recipe.load import load_recipe

TEXT = """
name = "flight"

[dataset]
name = "uwmgi"
root = "{root}"

[split]
folds = 3

[model]
name = "unet"
weights = "none"

[[loss]]
name = "bce"

[optimizer]
name = "adam"

[train]
batch_size = 7
"""


@pytest.fixture(scope="module")
def load_flight(tmp_path_factory, registries):
    """Loads the recipe on a phantom of three labelled cases, with overrides."""
    folder = tmp_path_factory.mktemp("preflight")
    write_phantom(folder / "phantom", cases=3, days=1, slices=10, seed=0, test_cases=1)
    (folder / "flight.toml").write_text(TEXT.format(root=(folder / "phantom").as_posix()))
    return lambda *sets: load_recipe(folder / "flight.toml", registries=registries, overrides=sets)


@pytest.mark.parametrize("sets", [(), ("split.subset=annotated",), ("split.folds=1",), ("split.group=slice",)])
def test_counts_are_those_of_training(load_flight, registries, sets):
    recipe = load_flight(*sets)
    data = ExperimentData(recipe, registries)
    found, (train, validation) = look(data), data.split
    assert (found.train, found.validation, found.unlabelled) == (len(train), len(validation), 10)
    assert found.steps == len(EpochSampler(train, batch_size=7, seed=0))
    assert found.warnings == ()


@pytest.mark.parametrize("slices", [1, 2, 7, 8, 9, 14, 15])
def test_steps_are_those_of_the_sampler(slices):
    assert steps_of(slices, 7) == len(EpochSampler(range(slices), batch_size=7, seed=0))


def test_a_root_that_is_not_there_is_found(load_flight, registries, tmp_path):
    assert missing_root(load_flight()) == ""
    assert missing_root(load_flight(f"dataset.root={tmp_path}/none")) == f"{tmp_path}/none"
    phantom = load_flight("dataset.name=phantom")
    assert (missing_root(phantom), is_made_on_demand(phantom, registries)) == ("", True)
    assert not is_made_on_demand(load_flight(), registries)


@pytest.mark.parametrize(
    ("sets", "kind", "message"),
    [
        (("train.monitor=dice/stomac",), RecipeError, "did you mean 'dice/stomach'"),
        (("split.folds=9",), DataError, "9 folds need at least 9 cases"),
        (("loss.0.name=ce",), ComponentError, "may overlap"),
        (("dataset.name=folder", "dataset.classes=['a']", "dataset.root=nowhere"), DataError, "nowhere"),
    ],
)
def test_what_training_would_refuse_is_refused(load_flight, registries, sets, kind, message):
    with pytest.raises(kind, match=message):
        look(ExperimentData(load_flight(*sets), registries))


def test_without_data_classes_count_where_the_recipe_names_them(load_flight, registries):
    with pytest.raises(RecipeError, match="did you mean 'dice/stomach'"):
        check_monitor_alone(
            ExperimentData(load_flight("train.monitor=dice/stomac", "dataset.root=nowhere"), registries)
        )
    check_monitor_alone(ExperimentData(load_flight("train.monitor=dice/stomac", "dataset.name=phantom"), registries))
    check_monitor_alone(ExperimentData(load_flight("train.monitor=dice/stomach"), registries))


def test_slices_without_neighbors_are_warned_of(load_flight, registries):
    recipe = load_flight("input.slices=3", "input.stride=20", "input.edge=zero")
    (line,) = look(ExperimentData(recipe, registries)).warnings
    assert "no scan has two slices at a distance of 20" in line


def test_a_setting_that_another_leaves_without_effect_is_told(recipe):
    def lines(*sets):
        return list(idle_settings(recipe(*sets)))

    assert lines() == lines("train.average=ema", "train.ema_decay=0.9") == []
    assert lines("train.average=swa", "train.swa_start=0.5", "train.ema_decay=0.9") == [
        'train.ema_decay = 0.9 has no effect, because train.average = "swa", not "ema"'
    ]
    assert len(lines("train.swa_start=0.5", "train.swa_batches=3")) == 2
    assert lines("input.mode=crop", "input.scale=0.5", "input.crops=3", "input.overlap=0.2") == []
    assert lines("input.mode=crop", "input.resize=fit") == [
        'input.resize = fit has no effect, because input.mode = "crop"'
    ]
    assert lines("input.slices=1", "input.stride=2", "input.edge=zero") == [
        "input.stride = 2 has no effect, because input.slices = 1",
        "input.edge = zero has no effect, because input.slices = 1",
    ]
    assert lines("input.slices=3", "input.stride=2", "train.memory=1GiB") == []
    assert lines("train.micro_batch=4", "train.memory=1GiB") == [
        "train.memory = 1GiB has no effect, because train.micro_batch = 4"
    ]
    assert lines("train.micro_batch=4", "train.memory=1GiB", "input.store=device") == []
    assert len(lines("input.scale=0.5", "input.crops=2", "input.around_class=0.5", "input.overlap=0.1")) == 4
