"""searches.py: grids and draws that anybody can compute, and the median rule."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gisegkit.components.searches import Grid, Median, Random
from gisegkit.errors import ComponentError
from gisegkit.testing.searches import SPACE
from gisegkit.types import Axis, Course, Hunt, Trial


def hunt(space=SPACE, trials=(), *, maximize=True):
    return Hunt(space, maximize, 9, "", tuple(trials))


def every(search):
    return list(iter(search.ask, None))


def test_a_grid_has_all_combinations_once():
    grid = Grid(hunt=hunt(), points=3)
    trials = every(grid)
    assert grid.size == len(trials) == 3 * 3 * 3 * 2 and grid.ask() is None
    rates, weights = (1e-4, pytest.approx(10**-2.5, rel=1e-5), 1e-1), (0.25, 0.625, 1.0)
    expected = itertools.product(rates, weights, (1, 2, 3), ("none", "baseline"))
    assert [tuple(trial.values.values()) for trial in trials] == list(expected)
    assert [trial.number for trial in trials] == list(range(54))


def test_a_grid_goes_on_where_it_was():
    trials = every(Grid(hunt=hunt(), points=2))
    later = Grid(hunt=hunt(trials=trials[:7]), points=2)
    assert every(later) == trials[7:]


def test_draws_belong_to_the_number_of_a_trial():
    first, second = Random(hunt=hunt(), seed=3), Random(hunt=hunt(), seed=3)
    trials = [first.ask() for _ in range(9)]
    assert [second.ask() for _ in range(9)] == trials
    later = Random(hunt=hunt(trials=trials[:4]), seed=3)
    assert [later.ask() for _ in range(5)] == trials[4:]
    assert Random(hunt=hunt(), seed=4).ask().values != trials[0].values


def test_draws_cover_the_space_evenly():
    """1000 draws: each quarter of an axis, of the logarithm where it is so, has its share within 5 deviations."""
    search = Random(hunt=hunt())
    rows = [search.ask().values for _ in range(1000)]
    rates = np.array([math.log10(row["optimizer.lr"]) for row in rows])
    weights = np.array([row["loss.0.weight"] for row in rows])
    for values, low, high in ((rates, -4, -1), (weights, 0.25, 1.0)):
        assert values.min() >= low and values.max() <= high
        numbers, _ = np.histogram(values, 4, (low, high))
        assert np.abs(numbers - 250).max() < 5 * math.sqrt(1000 * 0.25 * 0.75)
    for key, values in (("input.slices", (1, 2, 3)), ("augmentation.name", ("none", "baseline"))):
        found = [sum(row[key] == value for row in rows) for value in values]
        share = 1 / len(values)
        assert sum(found) == 1000 and max(abs(n - 1000 * share) for n in found) < 5 * math.sqrt(
            1000 * share * (1 - share)
        )


def test_numbers_stay_inside_although_they_are_rounded():
    space = {"a": Axis("uniform", 0.12345678, 0.12345679), "b": Axis("log_uniform", 1.0000001, 1.0000002)}
    search = Random(hunt=hunt(space))
    for _ in range(20):
        values = search.ask().values
        assert all(space[key].low <= values[key] <= space[key].high for key in space)


def course(*scores):
    return Course((tuple(enumerate(scores, start=1)),))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_median_rule(sign):
    """Three ended with best scores 0.1, 0.3, 0.5 after one epoch and 0.2, 0.6, 0.5 after two: medians 0.3 and 0.5."""
    rule = Median(maximize=sign > 0, startup=3, warmup=0)
    for number, scores in enumerate(((0.1, 0.2), (0.3, 0.6), (0.5, 0.4))):
        assert rule.prune(number, course(*(sign * score for score in scores))) == ""
        rule.ended.add(number)
    assert rule.prune(3, course(sign * 0.3)) == ""
    reason = rule.prune(3, course(sign * 0.3, sign * 0.4))
    assert reason == f"after epoch 2, its best score {sign * 0.4:.4f} is worse than the median {sign * 0.5:.4f}"
    assert rule.prune(4, course(sign * 0.29)).startswith("after epoch 1")
    assert rule.prune(5, Course()) == rule.prune(5, course()) == ""
    assert rule.prune(6, course(math.nan)) == "" and rule.prune(6, course(math.nan, sign * 0.1)) != ""
    assert rule.prune(7, Course((*course(0.0).folds, ((1, 0.0),)))) == ""  # beyond the first fold


def test_warmup_and_startup():
    rule = Median(maximize=True, startup=2, warmup=1)
    for number in range(2):
        rule.prune(number, course(0.5, 0.5))
        assert rule.prune(9, course(0.1, 0.1)) == ""
        rule.ended.add(number)
    assert rule.prune(9, course(0.1)) == "" and rule.prune(9, course(0.1, 0.1)) != ""


def test_only_trials_that_are_done_count_for_the_median():
    search = Random(hunt=hunt(), startup=1)
    search.prune(0, course(0.9))
    search.tell(0, None, "failed")
    assert search.prune(1, course(0.1)) == ""
    search.tell(0, 0.9, "done")
    assert search.prune(1, course(0.1)) != ""
    none = Random(hunt=hunt(), prune="none")
    none.prune(0, course(0.9))
    none.tell(0, 0.9, "done")
    assert none.prune(1, course(0.1)) == ""
    assert isinstance(none.ask(), Trial)


NO_NUMBERS = {"input.slices": Axis("integer", 1, 3), "augmentation.name": Axis("choice", values=("a", "b"))}


@pytest.mark.parametrize(
    ("search", "space", "params", "found"),
    [
        (Grid, SPACE, {"startup": 4}, 'with prune = "none", nothing uses startup = 4: leave it out'),
        (Random, SPACE, {"prune": "none", "startup": 2, "warmup": 0}, "nothing uses startup = 2 and warmup = 0"),
        (Grid, NO_NUMBERS, {"points": 5}, "with a space without uniform and log_uniform, nothing uses points = 5"),
    ],
)
def test_what_nothing_would_use_is_refused(search, space, params, found):
    with pytest.raises(ComponentError, match=found):
        search(hunt=hunt(space), **params)
    used = {"prune": "median"} if "startup" in params else {}
    search(hunt=hunt(SPACE), **{**params, **used})


def test_a_grid_does_not_continue_what_is_not_its_own():
    """It knows its trials by their numbers, so those that another search had would be left out."""
    trials = every(Grid(hunt=hunt(), points=3))
    for others in ([Random(hunt=hunt()).ask()], trials[40:41]):
        with pytest.raises(ComponentError, match="is not of this grid"):
            Grid(hunt=hunt(trials=others), points=2)
    assert Random(hunt=hunt(trials=trials[:3])).ask().number == 3


def test_a_grid_of_more_numbers_than_fit_in_memory_is_only_counted():
    grid = Grid(hunt=hunt({"seed": Axis("integer", 0, 10**12), "x": Axis("choice", values=("a", "b"))}))
    assert grid.size == 2 * (10**12 + 1) and grid.values(5) == {"seed": 2, "x": "b"}


def test_a_warm_up_as_long_as_a_trial_is_refused():
    assert Random(hunt=hunt(), warmup=8).ask().number == 0
    with pytest.raises(ComponentError, match="warmup = 9, and a trial has 9 epochs, so none would be pruned"):
        Random(hunt=hunt(), warmup=9)
