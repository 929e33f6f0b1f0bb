"""Experiments of folds: one drawing, data built once, a network each."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.build.folds import SHARED, draw_folds, of_fold, parts_of_fold


@pytest.fixture(scope="module")
def experiment(session, recipe):
    return session.experiment(recipe("split.fold=all"))


def test_each_fold_has_the_split_that_a_run_of_it_alone_draws(experiment, session, recipe):
    assigned = draw_folds(experiment)
    labelled = experiment.dataset.table["labelled"].to_numpy()
    assert (assigned[labelled] >= 0).all() and (assigned[~labelled] == -1).all()
    for fold in range(3):
        parts = parts_of_fold(experiment, assigned, fold)
        one = of_fold(experiment, fold, parts, say=print)
        alone = session.experiment(recipe(f"split.fold={fold}"))
        assert one.recipe == alone.recipe
        for mine, theirs in zip(one.split, alone.split, strict=True):
            assert np.array_equal(mine, theirs)
        assert np.array_equal(one.split.validation, np.flatnonzero(assigned == fold))


def test_data_are_shared_and_networks_are_not(experiment):
    lines: list[str] = []
    parts = parts_of_fold(experiment, draw_folds(experiment), 1)
    one, other = (of_fold(experiment, 1, parts, say=lines.append) for _ in range(2))
    assert all(getattr(one, name) is getattr(experiment, name) for name in SHARED)
    assert "model" not in one.__dict__ and one.sampler is not other.sampler
    one.console.say("a line")
    assert lines == ["a line"]


def test_without_a_stored_split_several_folds_mean_the_first(experiment):
    assert np.array_equal(experiment.split.validation, np.flatnonzero(draw_folds(experiment) == 0))
