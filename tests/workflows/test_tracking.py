"""Trackers that fail: a warning that names them, and the training goes on."""

from __future__ import annotations

import json
import math

import pytest

from gisegkit.build.session import Session
from gisegkit.errors import Interrupted
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.runs.folder import RunDir
from gisegkit.types import EpochReport, RunFacts
from gisegkit.workflows.epochs import Watch
from gisegkit.workflows.run import run_recipe
from gisegkit.workflows.tracking import Trackers
from gisegkit.workflows.train import epochs, train

pytestmark = pytest.mark.slow  # whole trainings or processes

CALLS: list[str] = []
ENDS: list[tuple[dict[str, float], str]] = []
STARTS: list[tuple[dict, RunFacts]] = []


class Good:
    """A tracker that works."""

    def __init__(self, *, folder):
        CALLS.append("made")

    def start(self, recipe, run):
        STARTS.append((recipe, run))

    def report(self, report):
        CALLS.append(f"epoch {report.epoch}")

    def finish(self, scores, outcome):
        CALLS.append(outcome)
        ENDS.append((scores, outcome))


class Down(Good):
    """A tracker whose server is down."""

    def report(self, report):
        raise ConnectionError("server down\nand more")

    def finish(self, scores, outcome):
        raise ConnectionError("server down")


class Unbuilt(Good):
    """A tracker that cannot be started."""

    def __init__(self, *, folder):
        raise OSError("no route to host")


class Halfway(Good):
    """A tracker that cannot be finished."""

    def finish(self, scores, outcome):
        raise KeyError("run")


class Unwilling(Good):
    """A tracker that refuses the recipe."""

    def start(self, recipe, run):
        raise ValueError("no project")


class Old:
    """A tracker as it was before 0.2: made without a start, and finished with a summary."""

    def __init__(self, *, folder):
        CALLS.append("old")

    def report(self, report):
        CALLS.append("old")

    def finish(self, summary):
        CALLS.append("old")


@pytest.fixture
def tracked(home):
    """A recipe with these trackers, and a session that knows them and writes down what is said."""
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-watch", "0.3"))
    for factory in (Good, Down, Unbuilt, Halfway, Old, Unwilling):
        adder.tracker(factory.__name__.lower(), factory)
    for component in adder.components:
        plugins.registries[component.kind].add(component)
    for told in (CALLS, ENDS, STARTS):
        told.clear()

    def make(*names):
        listed = ", ".join(f"{{name='{name}'}}" for name in names)
        sets = [f"tracker=[{listed}]", "train.epochs=2", "train.micro_batch=0"]
        lines = []
        recipe = load_recipe(home / "tiny.toml", registries=plugins.registries, overrides=sets)
        return recipe, Session(plugins, "cpu", say=lines.append), lines

    return make


def report(epoch):
    return EpochReport(epoch, 3, 0.1, {}, 0.5, False, 1e-3, 2.0, 10.0, 0, {})


@pytest.mark.parametrize(
    ("names", "expected", "said"),
    [
        (("good",), ["made", "epoch 1", "epoch 2", "finished"], []),
        (
            ("good", "unbuilt"),
            ["made", "epoch 1", "epoch 2", "finished"],
            ["'unbuilt'.* be started .*no route to host"],
        ),
        (("unbuilt", "good"), ["made", "epoch 1", "epoch 2", "finished"], ["'unbuilt'.* be started"]),
        (
            ("down", "good"),
            ["made", "made", "epoch 1", "epoch 2", "finished"],
            ["'down'.* take an epoch .*server down"],
        ),
        (
            ("good", "halfway"),
            [*["made"] * 2, *["epoch 1"] * 2, *["epoch 2"] * 2, "finished"],
            ["'halfway'.* be finis"],
        ),
        (("down", "unbuilt"), ["made"], ["'unbuilt'", "'down'"]),
        (
            ("unwilling", "good"),
            ["made", "made", "epoch 1", "epoch 2", "finished"],
            ["'unwilling'.* be started .*no pro"],
        ),
        (("old",), ["old"], [r"it has no start\(recipe, run\); give it one, which may do nothing"]),
    ],
)
def test_what_fails_is_said_once_and_the_others_go_on(tracked, tmp_path, names, expected, said):
    import re

    recipe, session, lines = tracked(*names)
    with Trackers(session.experiment(recipe)) as trackers:
        trackers.start(RunDir(tmp_path), epoch=0)
        trackers.report(report(1))
        trackers.report(report(2))
    assert expected == CALLS
    assert len(lines) == len(said)
    for line, pattern in zip(lines, said, strict=True):
        assert line.startswith("warning: tracker ") and "of giseg-watch 0.3" in line and "\n" not in line
        assert re.search(pattern, line)


def test_a_training_outlives_its_trackers(tracked, tmp_path):
    recipe, session, lines = tracked("down", "unbuilt")
    run = train(session.experiment(recipe), tmp_path / "run")
    assert [entry["epoch"] for entry in run.metrics()] == [1, 2]
    assert sum(line.startswith("warning: tracker") for line in lines) == 2


def best_of(run):
    """The scores of the best epoch, as its line in metrics.jsonl holds them."""
    return [entry["scores"] for entry in run.metrics() if entry["best"]][-1]


def same(told, stored):
    expected = {key: math.nan if value is None else value for key, value in stored.items()}
    return told == pytest.approx(expected, nan_ok=True)


def test_training_alone_ends_with_the_scores_of_the_best_epoch(tracked, tmp_path):
    recipe, session, _ = tracked("good")
    run = train(session.experiment(recipe), tmp_path / "run")
    ((told, facts),) = STARTS
    assert told == recipe.as_dict()
    classes = ("large_bowel", "small_bowel", "stomach")
    assert facts == RunFacts("run", str(tmp_path / "run"), False, classes, 0)
    ((scores, outcome),) = ENDS
    assert outcome == "finished" and same(scores, best_of(run))


def test_a_run_ends_with_the_scores_of_its_evaluation(tracked, tmp_path):
    recipe, session, _ = tracked("good")
    finished = run_recipe(session.experiment(recipe), tmp_path / "run")
    ((scores, outcome),) = ENDS
    assert outcome == "finished" and same(scores, finished.evaluated.scores["scores"])
    assert len(STARTS) == 1 and CALLS == ["made", "epoch 1", "epoch 2", "finished"]


def test_who_takes_epochs_may_stop(tracked, tmp_path):
    recipe, session, _ = tracked("good")
    stream = epochs(session.experiment(recipe), tmp_path / "run")
    next(stream)
    stream.close()
    ((scores, outcome),) = ENDS
    assert outcome == "stopped" and same(scores, best_of(RunDir(tmp_path / "run")))
    run = train(session.experiment(recipe), tmp_path / "run", resume=True)
    assert [facts.epoch for _, facts in STARTS] == [0, 1]
    assert CALLS == ["made", "epoch 1", "stopped", "made", "epoch 2", "finished"]
    assert same(ENDS[1][0], best_of(run))  # which may be the epoch before the resume


@pytest.mark.parametrize(
    ("error", "raised", "outcome"),
    [(KeyboardInterrupt, Interrupted, "interrupted"), (ZeroDivisionError, ZeroDivisionError, "failed")],
)
def test_a_run_that_is_stopped_says_how(tracked, tmp_path, monkeypatch, error, raised, outcome):
    recipe, session, _ = tracked("good")

    def stop(self, report):
        raise error

    monkeypatch.setattr(Watch, "left", stop)
    with pytest.raises(raised):
        run_recipe(session.experiment(recipe), tmp_path / "run")
    assert [told for _, told in ENDS] == [outcome]
    assert same(ENDS[0][0], best_of(RunDir(tmp_path / "run")))


def test_a_run_that_fails_after_its_evaluation_keeps_those_scores(tracked, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise RuntimeError("boom")

    recipe, session, _ = tracked("good")
    monkeypatch.setattr("gisegkit.workflows.run.predict", fail)
    with pytest.raises(RuntimeError, match="boom"):
        run_recipe(session.experiment(recipe), tmp_path / "run")
    ((scores, outcome),) = ENDS
    stored = json.loads((tmp_path / "run/evaluation/scores.json").read_text())["scores"]
    assert outcome == "failed" and same(scores, stored)


def test_trackers_are_not_finished_if_they_were_not_started(tracked):
    recipe, session, _ = tracked("good")
    with pytest.raises(RuntimeError, match="boom"), Trackers(session.experiment(recipe)):
        raise RuntimeError("boom")
    assert CALLS == []
