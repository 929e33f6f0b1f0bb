"""Trackers that fail: a warning that names them, and the training goes on."""

from __future__ import annotations

import pytest

from gisegkit.build.session import Session
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.runs.folder import RunDir
from gisegkit.types import EpochReport
from gisegkit.workflows.tracking import Trackers
from gisegkit.workflows.train import train

CALLS: list[str] = []


class Good:
    """A tracker that works."""

    def __init__(self, *, folder):
        CALLS.append("made")

    def report(self, report):
        CALLS.append(f"epoch {report.epoch}")

    def finish(self, summary):
        CALLS.append("finished")


class Down(Good):
    """A tracker whose server is down."""

    def report(self, report):
        raise ConnectionError("server down\nand more")

    def finish(self, summary):
        raise ConnectionError("server down")


class Unbuilt(Good):
    """A tracker that cannot be started."""

    def __init__(self, *, folder):
        raise OSError("no route to host")


class Halfway(Good):
    """A tracker that cannot be finished."""

    def finish(self, summary):
        raise KeyError("run")


@pytest.fixture
def tracked(home):
    """A recipe with these trackers, and a session that knows them and writes down what is said."""
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-watch", "0.3"))
    for name, factory in {"good": Good, "down": Down, "unbuilt": Unbuilt, "halfway": Halfway}.items():
        adder.tracker(name, factory)
    for component in adder.components:
        plugins.registries[component.kind].add(component)
    CALLS.clear()

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
    ],
)
def test_what_fails_is_said_once_and_the_others_go_on(tracked, tmp_path, names, expected, said):
    import re

    recipe, session, lines = tracked(*names)
    with Trackers(session.experiment(recipe), RunDir(tmp_path), {}) as trackers:
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


def test_trackers_are_finished_where_training_fails(tracked, tmp_path):
    recipe, session, _ = tracked("good")
    with pytest.raises(RuntimeError, match="boom"), Trackers(session.experiment(recipe), RunDir(tmp_path), {}):
        raise RuntimeError("boom")
    assert CALLS == ["made", "finished"]
