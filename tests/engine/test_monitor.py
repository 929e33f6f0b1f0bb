"""What a recipe monitors exists, and the best epoch is the best by it, whichever way that is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from gisegkit.components.metrics.overlap_metrics import Dice, UWMGIScore
from gisegkit.components.metrics.surface_metrics import HD95
from gisegkit.engine.monitor import better, direction_of_monitor, directions, parts_of
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import ComponentError, DataError, RecipeError
from gisegkit.workflows.check import smoke_test
from gisegkit.workflows.train import train

CLASSES = ("large_bowel", "stomach")
METRICS = {"uwmgi_score": UWMGIScore(), "dice": Dice(), "hd95": HD95()}


class Two:
    """A plugin's metric of two parts that says nothing of them."""

    convention = "two"
    higher_is_better = True

    def __call__(self, prediction, truth):
        return {"hits": np.zeros(truth.shape[3]), "misses": np.zeros(truth.shape[3])}

    def combine(self, means):
        return means["hits"] - means["misses"]


class Told(Two):
    """The same, which does."""

    part_directions: ClassVar = {"misses": False}


def direction(monitor, classes=CLASSES, metrics=None):
    return direction_of_monitor(SimpleNamespace(monitor=monitor, source="r.toml"), metrics or METRICS, classes)


@pytest.mark.parametrize(
    ("monitor", "higher"),
    [
        ("uwmgi_score", True),
        ("uwmgi_score/dice", True),
        ("uwmgi_score/hausdorff", False),
        ("uwmgi_score/stomach", True),
        ("dice/large_bowel", True),
        ("hd95", False),
        ("hd95/stomach", False),
    ],
)
def test_each_score_has_its_direction(monitor, higher):
    assert direction(monitor) is higher


@pytest.mark.parametrize(
    ("monitor", "near"),
    [
        ("dice/stomac", "did you mean 'dice/stomach'?"),
        ("uwmgi_score/hausdorf", "did you mean 'uwmgi_score/hausdorff'?"),
        ("dice/", "Valid: uwmgi_score, "),
        ("dice/dice", "Valid: uwmgi_score, "),
        ("hd95/liver", "hd95/stomach"),
        ("iou", "Valid: uwmgi_score, "),
    ],
)
def test_a_score_that_there_will_not_be_is_refused(monitor, near):
    with pytest.raises(RecipeError) as caught:
        direction(monitor)
    (mistake,) = caught.value.mistakes
    assert mistake.found == f'train.monitor = "{monitor}" is no score of this recipe'
    assert near in mistake.remedy


def test_without_data_parts_are_known_and_classes_may_be_anything():
    assert direction("uwmgi_score/hausdorff", None) is False
    assert direction("dice", None) is True
    assert direction("dice/stomac", None) is None


def test_a_part_of_which_the_metric_says_nothing_is_refused_and_the_others_are_not():
    assert direction("two", metrics={"two": Two()}) is True
    assert direction("two/stomach", metrics={"two": Two()}) is True
    with pytest.raises(RecipeError, match="metric 'two' does not say whether a higher or a lower 'misses' is better"):
        direction("two/misses", metrics={"two": Two()})
    assert direction("two/misses", metrics={"two": Told()}) is False
    with pytest.raises(RecipeError, match=r"part_directions = \{'hits': True\}"):
        direction("two/hits", metrics={"two": Told()})


@pytest.mark.parametrize("told", [{"mises": True}, {"misses": "lower"}, {"misses": 0}])
def test_what_makes_no_sense_of_parts_is_named(told):
    metric = Two()
    metric.part_directions = told
    with pytest.raises(ComponentError, match="metric 'two': part_directions has"):
        direction("two/hits", metrics={"two": metric})


def test_a_class_with_the_name_of_a_part_is_refused():
    with pytest.raises(DataError, match="uwmgi_score/hausdorff would mean two things"):
        direction("uwmgi_score", ("hausdorff",))
    assert direction("dice/dice", ("dice",), {"dice": Dice()}) is True


def test_a_metric_that_cannot_be_called_is_named():
    def broken(prediction, truth):
        raise IndexError("nothing there")

    with pytest.raises(ComponentError, match="metric 'x' fails on a scan of 4 x 32 x 32 with 2 classes: IndexError"):
        parts_of("x", broken, classes=2)


def test_the_keys_are_those_of_the_scoreboard():
    metrics = METRICS | {"two": Two()}
    board = Scoreboard(metrics, CLASSES)
    assert board.directions == {"uwmgi_score": True, "dice": True, "hd95": False, "two": True}
    masks = np.random.default_rng(0).random((2, 3, 16, 16, 2)) < 0.4
    spacing = {"spacing_z": 1.0, "spacing_y": 1.0, "spacing_x": 1.0}
    board.record(board.measure("s", ["1", "2", "3"], masks[0], masks[1].astype(np.uint8), spacing=spacing))
    known = directions(metrics, board.parts, CLASSES)
    assert list(known) == list(board.scores())
    assert {key for key, higher in known.items() if higher is None} == {"two/hits", "two/misses"}
    assert board.directions == {key: higher for key, higher in known.items() if higher is not None}


def test_in_words():
    assert [better(higher) for higher in (True, False, None)] == ["higher is better", "lower is better", ""]


# --- in runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monitor", "best"),
    [("uwmgi_score/hausdorff", min), ("dice/large_bowel", max)],
)
@pytest.mark.slow
def test_a_run_keeps_the_epoch_that_is_the_best_by_what_it_monitors(home, session, recipe, monitor, best):
    run = train(
        session.experiment(recipe(f"train.monitor={monitor}", "train.micro_batch=0")), home / monitor.replace("/", "-")
    )
    values = {entry["epoch"]: entry["scores"][monitor] for entry in run.metrics()}
    values = {epoch: value for epoch, value in values.items() if value is not None}
    assert len(set(values.values())) > 1 and values[run.weights()["epoch"]] == best(values.values())


def test_a_class_that_the_data_lack_is_refused_before_anything_is_prepared_or_trained(
    home, session, recipe, monkeypatch
):
    monkeypatch.setenv("GISEG_CACHE", str(home / "untouched"))
    for verb in (
        lambda wrong: train(session.experiment(wrong), home / "never"),
        lambda wrong: smoke_test(session.experiment(wrong)),
    ):
        with pytest.raises(RecipeError, match="did you mean 'dice/stomach'"):
            verb(recipe("train.monitor=dice/stomac"))
    assert not (home / "untouched").exists() and not (home / "never").exists()


@pytest.mark.slow
def test_what_the_end_of_a_run_says_of_its_epochs(home, session, recipe):
    said = []
    settings = ("train.epochs=1", "train.micro_batch=0", "optimizer.lr=1e-9", "evaluate.threshold=1.0")
    train(replace(session, say=said.append).experiment(recipe(*settings)), home / "empty")
    assert any(line.startswith("warning: in the kept epoch, 1, dice of the classes") for line in said), said
