"""Data and network made ready, and the refusal of weights that do not fit the data."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from gisegkit.errors import RunError
from gisegkit.recipe import load_recipe
from gisegkit.session import get_ready, score_all
from gisegkit.types import silent

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
decoder_channels = [32, 16, 16, 8, 8]
[[loss]]
name = "bce"
[optimizer]
name = "adam"
[[metric]]
name = "dice"
"""


def test_fresh_network_is_that_of_the_recipe(recipe, session):
    first, second = get_ready(recipe(), session, training=True), get_ready(recipe(), session, training=True)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert first.facts == {"classes": ["large_bowel", "small_bowel", "stomach"], "channels": 3}


def test_trained_weights_are_loaded(recipe, session, finished):
    run, scores = finished
    ready = get_ready(recipe(), session, training=True, weights=run.weights())
    board = score_all(ready, ready.data.validation, silent)
    assert board.scores() == scores["scores"]


@pytest.mark.parametrize("change", ["input.slices=1", "input.slices=5"])
def test_weights_of_other_channels_are_refused(recipe, session, finished, change):
    run, _ = finished
    with pytest.raises(RunError, match="channels = 3, these data have"):
        get_ready(recipe(change), session, training=False, weights=run.weights())


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
        get_ready(recipe, own, training=training)
    assert ["3 cases (p0 ... p2)" in line for line in told if line.startswith("note: ")] == [True]
