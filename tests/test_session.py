"""Data and network made ready, and the refusal of weights that do not fit the data."""

from __future__ import annotations

import pytest
import torch

from gisegkit.errors import RunError
from gisegkit.session import get_ready, score_all
from gisegkit.types import silent


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
