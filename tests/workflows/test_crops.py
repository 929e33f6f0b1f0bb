"""Crops from recipe to submission: trained, resumed, evaluated by windows, used from Python, or refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from gisegkit import load_run
from gisegkit.build.preflight import look
from gisegkit.engine.windows import WindowPredictor
from gisegkit.errors import RecipeError
from gisegkit.workflows.run import run_recipe
from gisegkit.workflows.train import epochs, train

pytestmark = pytest.mark.slow  # whole trainings or processes

FEW = ("train.epochs=2", "train.validate_every=2")
CROP = ("input.mode=crop", "input.size=[32,32]", "input.scale=0.25", "input.crops=2", *FEW)


@pytest.fixture(scope="module")
def cropped(home, session, recipe):
    """A run on crops, with its experiment, scores and submission."""
    experiment = session.experiment(recipe(*CROP))
    return (experiment, *run_recipe(experiment, home / "cropped"))


def weights(run, name="last.pt"):
    return torch.load(run.path / name, weights_only=True)["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_recipe_with_crops_runs_and_is_predicted_by_windows(cropped):
    experiment, _, evaluated, predicted = cropped
    assert isinstance(experiment.predictor, WindowPredictor)
    assert len(experiment.sampler) == -(-2 * len(experiment.split.train) // experiment.recipe.train.batch_size)
    assert look(experiment).steps == len(experiment.sampler)
    assert 0 <= evaluated.scores["scores"]["dice"] <= 1 and predicted.file.is_file()
    assert evaluated.own


def test_it_resumes_to_the_last_bit(tmp_path, session, recipe, cropped):
    going = epochs(session.experiment(recipe(*CROP)), tmp_path / "run")
    list(itertools.islice(going, 1))
    going.close()
    resumed = train(session.experiment(recipe(*CROP)), tmp_path / "run", resume=True)
    assert same(weights(resumed), weights(cropped[1]))


@pytest.mark.parametrize("sets", [("train.workers=2", "input.store=off")])
def test_workers_and_store_change_nothing(tmp_path, session, recipe, cropped, sets):
    assert same(weights(train(session.experiment(recipe(*CROP, *sets)), tmp_path / "run")), weights(cropped[1]))


def test_slices_in_memory_of_any_size_are_predicted_as_from_files(cropped):
    experiment, run = cropped[:2]
    loaded = load_run(run.path, device="cpu")
    table = experiment.dataset.table
    scan = table["scan"].iloc[experiment.split.validation[0]]
    rows = np.flatnonzero(table["scan"] == scan)
    masks = loaded.predict([experiment.dataset.image(row) for row in rows])
    (found,) = experiment.scans(rows, label="predict", progress=lambda items, *_: items)
    assert np.array_equal(masks, found.prediction)
    assert loaded.predict(np.zeros((70, 33), np.uint8)).shape == (70, 33, len(experiment.classes))


def test_windows_of_the_whole_slice_are_the_network_itself(session, recipe, cropped):
    """With a window as large as every slice, crops and whole slices are the same network on the same pixels."""
    experiment, run = cropped[:2]
    height, width = experiment.dataset.table[["height", "width"]].iloc[0]
    size = f"input.size=[{height},{width}]"
    predictions = []
    for mode in ("slice", "crop"):
        other = session.experiment(recipe(f"input.mode={mode}", size, "input.store=off"))
        other.load(run.weights())
        rows = np.flatnonzero(other.dataset.table["scan"] == other.dataset.table["scan"].iloc[0])
        predicted = other.probabilities(rows, label="", progress=lambda items, *_: items)
        predictions.append(next(predicted).whole()[0])
    np.testing.assert_allclose(predictions[1], predictions[0], atol=1e-6)


def test_crops_on_the_device_are_refused_before_anything_is_read(session, recipe):
    with pytest.raises(RecipeError, match=r'input\.mode = "crop" cuts crops on the CPU'):
        session.experiment(recipe(*CROP, "input.store=device", "augmentation.name=none")).prepare()
