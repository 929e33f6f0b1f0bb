"""The search of a decision: nested, class by class, and honest about gains that are not there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gisegkit.components.metrics.overlap_metrics import Dice
from gisegkit.components.postprocess.islands import MinArea
from gisegkit.engine.decision import Decision
from gisegkit.engine.scoring import Scoreboard
from gisegkit.engine.tuning import DecisionSearch, KeptScan
from gisegkit.errors import DataError

CLASSES = ("a", "b")
GRID = [(0.3, 0.5, 0.7), (1, 6)]
START = ((0.5, 1), (0.5, 1))


def decide(state, *, exclusive=False):
    areas = dict(zip(CLASSES, (int(settings[1]) for settings in state), strict=True))
    steps = (MinArea(pixels=areas, classes=CLASSES),)
    return Decision([settings[0] for settings in state], steps, exclusive=exclusive)


def scan(number, rng, *, logits=(0.0, 0.0), folds=3, case=None):
    """Squares whose borders are uncertain by chance; ``logits`` push each class up or down."""
    truth = np.zeros((2, 16, 16, 2), np.uint8)
    for d in range(2):
        for k in range(2):
            row, column = rng.integers(0, 8, 2)
            truth[d, row : row + 6, column : column + 6, k] = 1
    values = 2.0 * (2.0 * truth - 1) + rng.normal(0, 1.5, truth.shape) + np.array(logits)
    probabilities = (1 / (1 + np.exp(-values))).astype(np.float32)
    ids = [f"{number}_{d}" for d in range(2)]
    return KeptScan(f"s{number}", case or f"c{number}", str(number % folds), ids, probabilities, truth, {})


def search(scans, *, grid=GRID, metric=None, threads=0, decision=decide):
    board = Scoreboard({"dice": metric or Dice()}, CLASSES)
    return DecisionSearch(lambda: iter(scans), decision, board, grid, threads=threads)


def by_hand(scans, state):
    """The mean Dice of every defined value, computed without the search."""
    values = [Dice()(decide(state)(one.probabilities), one.truth == 1)["dice"] for one in scans]
    return float(np.nanmean(np.concatenate([np.ravel(value) for value in values])))


@pytest.fixture(scope="module")
def shifted():
    """Class a is pushed down, so that it wants a low threshold; class b is pushed up."""
    rng = np.random.default_rng(0)
    return [scan(number, rng, logits=(-1.2, 1.2)) for number in range(12)]


@pytest.fixture(scope="module")
def found(shifted):
    return search(shifted).run(START, resamples=999, rng=np.random.default_rng(0))


def test_each_class_gets_what_it_wants(shifted, found):
    assert [settings[0] for settings in found.state] == [0.3, 0.7]
    every = [((a, p), (b, q)) for a in GRID[0] for b in GRID[0] for p in GRID[1] for q in GRID[1]]
    best = max(every, key=lambda state: by_hand(shifted, state))
    assert by_hand(shifted, found.state) == pytest.approx(by_hand(shifted, best))
    assert found.optimistic == pytest.approx(by_hand(shifted, best) - by_hand(shifted, START))


def test_each_fold_is_scored_with_the_choice_of_the_others(shifted, found):
    assert sorted(found.by_fold) == ["0", "1", "2"]
    for fold, state in found.by_fold.items():
        others = [one for one in shifted if one.fold != fold]
        assert (
            search(others + others_in_two_folds(others)).run(START, resamples=999, rng=np.random.default_rng(0)).state
            == state
        )
    values = [Dice()(decide(found.by_fold[one.fold])(one.probabilities), one.truth == 1)["dice"] for one in shifted]
    assert found.after.score() == pytest.approx(np.nanmean(np.concatenate([np.ravel(value) for value in values])))
    assert found.before.score() == pytest.approx(by_hand(shifted, START))
    assert found.gain.estimate == pytest.approx(found.after.score() - found.before.score())
    assert found.shown


def others_in_two_folds(scans):
    """The same scans again, as other cases of another fold: the choice of all is the same."""
    return [one._replace(name=f"{one.name}x", case=f"{one.case}x", fold="x") for one in scans]


def test_probabilities_that_say_the_same_at_every_threshold_gain_nothing():
    rng = np.random.default_rng(1)
    scans = [scan(number, rng) for number in range(8)]
    sure = [one._replace(probabilities=(one.probabilities > 0.5).astype(np.float32)) for one in scans]
    decide_one = lambda state: Decision([settings[0] for settings in state])  # noqa: E731
    result = search(sure, grid=[(0.3, 0.5, 0.7)], decision=decide_one).run(((0.5,), (0.5,)), resamples=999, rng=rng)
    assert result.state == ((0.5,), (0.5,))
    assert (result.gain.estimate, result.optimistic) == (0, 0)
    assert not result.shown


def test_a_score_of_which_lower_is_better_is_lowered(shifted):
    class Miss(Dice):
        higher_is_better = False
        convention = "1 - Dice"

        def combine(self, means):
            return 1 - means["dice"]

    result = search(shifted, metric=Miss()).run(START, resamples=999, rng=np.random.default_rng(0))
    assert [settings[0] for settings in result.state] == [0.3, 0.7]
    assert result.gain.high < 0
    assert result.shown


def test_threads_change_nothing(shifted, found):
    other = search(shifted, threads=2).run(START, resamples=999, rng=np.random.default_rng(0))
    assert (other.state, other.by_fold, other.gain) == (found.state, found.by_fold, found.gain)


def test_scans_of_one_case_count_together(shifted):
    paired = [one._replace(case=f"c{number // 2}", fold=str(number // 2 % 3)) for number, one in enumerate(shifted)]
    result = search(paired).run(START, resamples=999, rng=np.random.default_rng(0))
    assert result.before.cases == 6
    assert result.before.score() == pytest.approx(by_hand(shifted, START))


def test_what_was_chosen_is_scored_with_classes_that_touch_one_another(shifted):
    exclusive = [
        one._replace(probabilities=one.probabilities / (1 + one.probabilities.sum(-1, keepdims=True)))
        for one in shifted
    ]
    make = lambda state: decide(state, exclusive=True)  # noqa: E731
    result = search(exclusive, decision=make).run(START, resamples=999, rng=np.random.default_rng(0))
    values = [Dice()(make(result.by_fold[one.fold])(one.probabilities), one.truth == 1)["dice"] for one in exclusive]
    assert result.after.score() == pytest.approx(np.nanmean(np.concatenate([np.ravel(value) for value in values])))


def test_a_state_without_a_score_is_left_for_one_that_has_one(shifted):
    class Precise(Dice):
        """Undefined where nothing is predicted."""

        def __call__(self, prediction, truth):
            found = prediction.sum((1, 2)).astype(float)
            hits = (prediction & truth).sum((1, 2))
            return {"dice": np.where(found > 0, hits / np.maximum(found, 1), math.nan)}

    start = ((1.0, 1), (1.0, 1))
    result = search(shifted, metric=Precise()).run(start, resamples=999, rng=np.random.default_rng(0))
    assert result.state[0][0] < 1  # the other class may well stay undefined
    assert result.after.score() > 0.5
    assert math.isnan(result.before.score())
    assert not result.shown


def test_one_fold_is_refused(shifted):
    alone = [one._replace(fold="0") for one in shifted]
    with pytest.raises(DataError, match="there is one fold only"):
        search(alone).run(START, resamples=999, rng=np.random.default_rng(0))


def test_a_case_in_two_folds_is_refused(shifted):
    torn = [one._replace(case="c") for one in shifted]
    with pytest.raises(DataError, match="case c is in fold 0 and in fold 1"):
        search(torn).run(START, resamples=999, rng=np.random.default_rng(0))
