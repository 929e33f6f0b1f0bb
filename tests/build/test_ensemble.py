"""Several networks as one experiment; workflows/test_ensemble.py and test_folds.py have what becomes of it."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.errors import RunError
from gisegkit.types import silent

pytestmark = pytest.mark.slow  # a whole training


def test_the_mean_of_a_run_with_itself_is_that_run(ensemble, run, session, recipe, values, alone):
    whole = ensemble()
    taken = whole.take_over(whole.run)
    assert [one["epoch"] for one in taken["networks"]] == [run.weights()["epoch"]] * 2
    assert whole.size == tuple(2 * number for number in session.experiment(recipe()).size)
    rows = whole.unlabelled
    found = values(whole.probabilities(rows, label="", progress=silent))
    for row, (mean, truth) in alone(rows).items():
        assert np.allclose(found[row][0], mean, atol=1e-6) and truth is found[row][1] is None


def test_what_only_one_network_has_is_not_asked_of_several(ensemble):
    whole = ensemble()
    whole.take_over(whole.run)
    with pytest.raises(RuntimeError, match="no predictor or network size of its own"):
        whole.probabilities(whole.unlabelled, label="", progress=silent, sized=True)


def test_weights_that_are_not_those_of_the_ensemble_are_refused(ensemble, run):
    whole = ensemble(digests=("0" * 64,))
    with pytest.raises(RunError, match=r"best\.pt is not what the ensemble .* was made of: its digest is"):
        whole.take_over(whole.run)
