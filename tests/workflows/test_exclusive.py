"""A function that writes into a run folder has it to itself; one that writes elsewhere needs no lock."""

from __future__ import annotations

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.folder import RunDir
from gisegkit.runs.locks import LOCK
from gisegkit.workflows.exclusive import in_run_folder


@in_run_folder
def locked_now(run, experiment, *, out=None):
    return (run.path / LOCK).is_file()


@pytest.fixture
def run(tmp_path):
    return RunDir.create(tmp_path / "run", recipe='name = "x"\n', environment={}, demo=False)


def test_the_folder_is_locked_unless_something_else_is_written(run, session, recipe, tmp_path):
    experiment = session.experiment(recipe())
    assert locked_now(run, experiment)
    assert locked_now(run, experiment, out=run.path / "inside" / "file.csv")
    assert not locked_now(run, experiment, out=tmp_path / "elsewhere.csv")
    assert not (run.path / LOCK).exists()


def test_a_folder_that_another_process_writes_is_refused(run, session, recipe, hold, tmp_path):
    hold(run.path)
    with pytest.raises(RunError, match="is in use by another giseg process"):
        locked_now(run, session.experiment(recipe()))
    locked_now(run, session.experiment(recipe()), out=tmp_path / "elsewhere.csv")
