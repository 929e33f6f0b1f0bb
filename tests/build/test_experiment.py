"""Data and network made ready, and the refusal of weights that do not fit the data."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from gisegkit.errors import GisegError, RunError
from gisegkit.recipe.load import load_recipe
from gisegkit.types import silent
from gisegkit.workflows.train import train

RECIPE = """
name = "notes"
[dataset]
name = "folder"
root = "{root}"
labels = {{a = 1}}
[input]
size = [32, 32]
store = "off"
[split]
folds = 3
[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
depth = 3
decoder_channels = [16, 8, 8]
[[loss]]
name = "bce"
[optimizer]
name = "adam"
[[metric]]
name = "dice"
"""


def test_fresh_network_is_that_of_the_recipe(recipe, session):
    first, second = (session.experiment(recipe()) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert first.facts == {"classes": ["large_bowel", "small_bowel", "stomach"], "channels": 3}


def test_trained_weights_are_loaded(recipe, session, finished):
    run, scores = finished
    experiment = session.experiment(recipe())
    experiment.load(run.weights())
    board = experiment.score(experiment.split.validation, silent)
    assert board.scores() == scores["scores"]


@pytest.mark.parametrize("change", ["input.slices=1", "input.slices=5"])
def test_weights_of_other_channels_are_refused(recipe, session, finished, change):
    run, _ = finished
    with pytest.raises(RunError, match="channels = 3, these data have"):
        session.experiment(recipe(change)).load(run.weights())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.weights=nowhere.pth", "there is no file 'nowhere.pth'"),
        ("loss.0.name=ce", "may overlap"),
        ("train.monitor=dice/liver", "is no score of this recipe"),
    ],
)
def test_what_fails_at_once_does_so_before_slices_are_prepared(recipe, session, tmp_path, monkeypatch, change, message):
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(GisegError, match=message):
        train(session.experiment(recipe(change)), tmp_path / "run")
    assert not (tmp_path / "cache").exists()


def test_slices_are_prepared_and_said_once_the_network_is_there(recipe, session, tmp_path, monkeypatch):
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    said = []
    experiment = replace(session, say=said.append).experiment(recipe())
    experiment.prepare()
    assert experiment.prepared.made > 0
    assert [line for line in said if line.startswith("prepared: ")]
    again = session.experiment(recipe())
    again.prepare()
    assert not again.prepared.made


def test_slices_without_neighbors_are_told_before_training(recipe, session):
    said = []
    listening = replace(session, say=said.append)
    listening.experiment(recipe("input.stride=20", "input.edge=zero")).check_data(training=True)
    assert [line for line in said if "no scan has two slices at a distance of 20" in line]
    replace(session, say=said.clear).experiment(recipe()).check_data(training=True)


def test_what_a_dataset_notes_is_told_once_a_session(tmp_path, session):
    for case in range(3):
        for position in range(2):
            for part in ("images", "masks"):
                (tmp_path / part).mkdir(exist_ok=True)
                assert cv2.imwrite(str(tmp_path / part / f"p{case}_{position}.png"), np.eye(8, dtype=np.uint8))
    (tmp_path / "recipe.toml").write_text(RECIPE.format(root=tmp_path.as_posix()))
    recipe = load_recipe(tmp_path / "recipe.toml", registries=session.plugins.registries)
    told = []
    own = replace(session, say=told.append, said=set())
    for training in (True, False):
        own.experiment(recipe).check_data(training=training)
    assert ["3 cases (p0 ... p2)" in line for line in told if line.startswith("warning: ")] == [True]
