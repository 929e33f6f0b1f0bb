"""A console says a note once; a session makes the experiment of a recipe, and opens a finished run's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gisegkit.build.session import Session
from gisegkit.errors import RecipeError


def test_a_note_is_printed_once(session):
    lines = []
    console = replace(session, say=lines.append, said=set())
    for text in ("a", "b", "a"):
        console.note(text)
    assert lines == ["note: a", "note: b"]


def test_a_finished_run_is_opened_with_other_settings(session, finished):
    run, _ = finished
    opened, experiment = session.open_run(run.path, overrides=["evaluate.threshold=0.25"])
    assert opened.path == run.path
    assert experiment.recipe.evaluate.threshold == 0.25
    assert experiment.console is session and isinstance(session, Session)
    with pytest.raises(RecipeError, match=r"train\.epochs has no effect on giseg predict"):
        session.open_run(run.path, overrides=["train.epochs=2"], command="predict")
