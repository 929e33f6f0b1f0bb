"""An ensemble of one run with itself, and what is compared with it."""

from __future__ import annotations

import shutil

import pytest

from gisegkit.build.ensemble import Ensemble
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import Member
from gisegkit.types import silent


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


@pytest.fixture
def values():
    """Predicted scans as values and truth by row."""
    return _values


def _values(scans):
    return {item.row: (item.values, item.truth) for scan in scans for item in scan}


@pytest.fixture
def alone(run, session, recipe):
    """What the run itself predicts of rows."""

    def predict(rows):
        one = session.experiment(recipe())
        one.take_over(run)
        return _values(one.probabilities(rows, label="", progress=silent))

    return predict
