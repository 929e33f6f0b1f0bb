"""Several networks as one experiment; workflows/test_ensemble.py and test_folds.py have what becomes of it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from gisegkit.build.ensemble import Ensemble
from gisegkit.errors import RunError
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import Member
from gisegkit.types import silent

pytestmark = pytest.mark.slow  # a whole training


@pytest.fixture
def run(finished, tmp_path):
    """A copy, since an ensemble keeps probabilities in the folders of its members."""
    shutil.copytree(finished[0].path, tmp_path / "run")
    return RunDir(tmp_path / "run")


@pytest.fixture
def ensemble(run, session, recipe, tmp_path):
    """An ensemble of a run with itself in the weights 3 and 1, which is that run."""

    def make(*overrides, digests=()):
        members = tuple(Member(run, label, weight, (run,), digests) for label, weight in (("a", 3.0), ("b", 1.0)))
        whole = RunDir.create(tmp_path / f"e{len(list(tmp_path.iterdir()))}", recipe=recipe().text(), environment={},
                              demo=False)  # fmt: skip
        return Ensemble(recipe(*overrides), session.plugins.registries, console=session, run=whole, members=members)

    return make


def values(scans):
    return {item.row: (item.values, item.truth) for scan in scans for item in scan}


def alone(run, session, recipe, rows):
    one = session.experiment(recipe())
    one.take_over(run)
    return values(one.probabilities(rows, label="", progress=silent))


def test_the_mean_of_a_run_with_itself_is_that_run(ensemble, run, session, recipe):
    whole = ensemble()
    taken = whole.take_over(whole.run)
    assert [one["epoch"] for one in taken["networks"]] == [run.weights()["epoch"]] * 2
    assert whole.size == tuple(2 * number for number in session.experiment(recipe()).size)
    rows = whole.unlabelled
    found = values(whole.probabilities(rows, label="", progress=silent))
    for row, (mean, truth) in alone(run, session, recipe, rows).items():
        assert np.allclose(found[row][0], mean, atol=1e-6) and truth is found[row][1] is None


def test_slices_that_validated_come_from_what_is_kept_within_half_a_step(ensemble, run, session, recipe):
    whole = ensemble()
    weights = whole.take_over(whole.run)
    part = whole.part_of(whole.parts_of(whole.run, weights))
    assert not (run.path / "oof").exists()
    found = values(whole.probabilities(part.rows, label="", progress=silent))
    assert sorted(path.name for path in run.oof.iterdir()) == ["files.json", "probabilities.npz"]
    for row, (mean, truth) in alone(run, session, recipe, part.rows).items():
        assert np.abs(found[row][0] - mean).max() <= 0.5 / 255 + 1e-5
        assert (found[row][1] == truth).all()
    assert whole.folds_of(part.rows).tolist() == [0] * len(part.rows)
    with ExitStack() as stack:
        one, other = whole.stored(part.rows, stack)
        assert (one.weight, other.weight) == (3.0, 1.0) and len(one.files) == len(other.files) == 1


@pytest.mark.parametrize(
    ("override", "own"), [("evaluate.threshold=0.3", True), ("input.interpolation=nearest", False)]
)
def test_only_a_change_that_changes_no_probability_uses_what_is_kept(ensemble, run, override, own):
    whole = ensemble(override)
    weights = whole.take_over(whole.run)
    assert whole.own is own
    part = whole.part_of(whole.parts_of(whole.run, weights))
    assert len(values(whole.probabilities(part.rows, label="", progress=silent))) == len(part.rows)
    assert run.oof.exists() is own


def test_what_only_one_network_has_is_not_asked_of_several(ensemble):
    whole = ensemble()
    whole.take_over(whole.run)
    with pytest.raises(RuntimeError, match="no source, predictor or network size of its own"):
        whole.probabilities(whole.unlabelled, label="", progress=silent, sized=True)


def test_weights_that_are_not_those_of_the_ensemble_are_refused(ensemble, run):
    whole = ensemble(digests=("0" * 64,))
    with pytest.raises(RunError, match=r"best\.pt is not what the ensemble .* was made of: its digest is"):
        whole.take_over(whole.run)
