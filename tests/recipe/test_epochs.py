"""Epochs without a loss are found, between spans that overlap, and in runs of any length."""

from __future__ import annotations

import pytest

from gisegkit.recipe.epochs import first_in_mean, uncovered
from gisegkit.recipe.sections import ComponentSpec, Train


@pytest.mark.parametrize(
    "spans",
    [
        [(1, 3), (5, 0)],
        [(5, 0), (1, 2), (2, 3)],
        [(3, 4), (7, 8)],
        [(1, 0), (4, 5)],
        [(1, 7), (2, 3), (8, 15)],
        [(2, 99)],
        [(1, 4), (1, 2)],
    ],
)
def test_equals_counting_epoch_by_epoch(spans):
    losses = [ComponentSpec("loss", "x", common={"start_epoch": start, "end_epoch": end}) for start, end in spans]
    idle = [epoch for epoch in range(1, 16) if not any(loss.counts_in(epoch) for loss in losses)]
    assert uncovered(15, losses) == (idle[0] if idle else 0, len(idle))


def test_a_run_of_any_length_takes_no_time():
    losses = [ComponentSpec("loss", "x", common={"end_epoch": 10})]
    assert uncovered(10**30, losses) == (11, 10**30 - 10)


@pytest.mark.parametrize(
    ("epochs", "start", "first"), [(20, 0.75, 16), (100, 0.29, 30), (3, 0.4, 2), (5, 0.0, 1), (5, 1.0, 5), (1, 0.75, 1)]
)
def test_the_first_epoch_in_the_mean_comes_after_the_share(epochs, start, first):
    assert first_in_mean(Train(epochs=epochs, swa_start=start)) == first
