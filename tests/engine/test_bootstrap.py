"""Intervals that hold what they promise, and a test that raises no more false alarms than it may."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gisegkit.components.metrics.overlap_metrics import UWMGIScore
from gisegkit.engine.bootstrap import FEWEST, CaseSums, bootstrap_interval, holm, paired_test, smallest_p

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"


@pytest.fixture(scope="module")
def simulation():
    """The module that docs/compare.md's table was made with."""
    spec = importlib.util.spec_from_file_location("interval_coverage", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def mean_of(values, counts=None):
    """A score that is a plain mean."""
    values = np.asarray(values, dtype=float)
    counts = np.ones_like(values) if counts is None else np.asarray(counts, dtype=float)
    return CaseSums(("x",), values[None], counts[None], lambda means: means["x"])


def uwmgi(cases=9, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 30, (2, cases)).astype(float)
    return CaseSums(("dice", "hausdorff"), counts * rng.random((2, cases)), counts, UWMGIScore().combine)


# --- scores of resampled cases --------------------------------------------------------------------------------------


def test_a_score_is_sum_then_divide_over_the_cases_drawn():
    run = uwmgi()
    drawn = [0, 0, 3, 8, 5, 5, 5, 1, 2]
    dice, hausdorff = run.sums[:, drawn].sum(axis=1) / run.counts[:, drawn].sum(axis=1)
    weights = np.bincount(drawn, minlength=9)[None].astype(float)
    assert run.scores(weights) == pytest.approx([0.4 * dice + 0.6 * (1 - hausdorff)])


def test_influence_is_the_derivative_by_a_cases_weight():
    run = uwmgi()
    weights = np.random.default_rng(1).multinomial(9, np.full(9, 1 / 9), size=4).astype(float)
    step = 1e-5
    for case in range(9):
        moved = step * np.eye(9)[case]
        slope = (run.scores(weights + moved) - run.scores(weights - moved)) / (2 * step)
        assert run.influence(weights)[:, case] / 9 == pytest.approx(slope, abs=1e-7)


def test_swapped_takes_each_case_from_the_run_that_it_says():
    a, b = uwmgi(seed=1), uwmgi(seed=2)
    own = np.array([[1, 0, 0, 1, 1, 0, 1, 1, 0.0]])
    mixed = CaseSums(a.parts, np.where(own, a.sums, b.sums), np.where(own, a.counts, b.counts), a.combine)
    assert a.swapped(b, own) == pytest.approx([mixed.score()])
    assert a.swapped(b, np.ones((1, 9))) == pytest.approx([a.score()])


def test_a_part_without_values_is_undefined():
    assert math.isnan(mean_of([0.0] * 8, [0] * 8).score())


# --- intervals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "cases"), [("skewed", 8), ("disasters", 20)])
@pytest.mark.slow
def test_intervals_cover_93_to_97_percent(simulation, setting, cases):
    """1000 data sets: a true coverage of 95 % is seen as 95 +- 0.7 %, so that 93 and 97 are 2.9 errors away."""
    held = simulation.coverage(
        simulation.SETTINGS[setting], sets=1000, cases=cases, resamples=399, rng=np.random.default_rng(1)
    )
    assert all(0.93 <= share <= 0.97 for share in held), held


@pytest.mark.slow
def test_the_simulation_can_fail(simulation):
    """The usual percentile interval on the same data covers less than 90 % with 8 cases."""
    setting, rng = simulation.SETTINGS["skewed"], np.random.default_rng(2)
    sums, counts = simulation.simulate(setting, 600, 8, rng)[0]
    held = 0
    for index in range(600):
        run = simulation.as_case_sums(sums[index], counts[index])
        low, high = np.quantile(
            run.scores(rng.multinomial(8, np.full(8, 1 / 8), size=399).astype(float)), [0.025, 0.975]
        )
        held += low <= simulation.true_scores(setting)[0] <= high
    assert held / 600 < 0.91


@pytest.mark.slow
def test_a_mean_of_many_cases_has_the_interval_of_the_textbook():
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    interval = bootstrap_interval(mean_of(values), resamples=9999, rng=np.random.default_rng(0))
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=0.0005)
    assert interval.estimate == pytest.approx(values.mean())


def test_the_difference_is_paired():
    """Cases differ much, the runs by nearly the same in each: the interval of the difference is narrow."""
    rng = np.random.default_rng(0)
    first = rng.random(20)
    second = first + 0.01 + rng.normal(0, 0.001, 20)
    alone = bootstrap_interval(mean_of(first), resamples=999, rng=rng)
    interval = bootstrap_interval(mean_of(second), mean_of(first), resamples=999, rng=rng)
    assert interval.estimate == pytest.approx((second - first).mean())
    assert 0.009 < interval.low < interval.high < 0.011
    assert alone.high - alone.low > 0.2


def test_few_cases_have_no_interval():
    for cases in (1, 2, FEWEST - 1, FEWEST):
        interval = bootstrap_interval(mean_of(np.arange(cases)), resamples=999, rng=np.random.default_rng(0))
        assert math.isnan(interval.low) == math.isnan(interval.high) == (cases < FEWEST)
        assert interval.estimate == (cases - 1) / 2


def test_two_equal_runs_have_an_interval_of_no_width():
    run = uwmgi()
    interval = bootstrap_interval(run, run, resamples=999, rng=np.random.default_rng(0))
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_no_interval_where_one_case_alone_makes_the_difference():
    first = mean_of([0.5] * 8)
    second = mean_of([0.9, *[0.5] * 7])
    interval = bootstrap_interval(second, first, resamples=999, rng=np.random.default_rng(0))
    assert interval.estimate == pytest.approx(0.05)
    assert math.isnan(interval.low) and math.isnan(interval.high)


# --- test -----------------------------------------------------------------------------------------------------------


def test_p_counts_every_way_to_swap_cases():
    """By hand: the mean of differences under all 2^7 patterns of signs."""
    differences = np.array([0.3, 0.1, -0.05, 0.2, 0.15, 0.02, -0.01])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 7)).reshape(7, -1)
    expected = np.mean(np.abs(differences @ signs) >= abs(differences.sum()) - 1e-12)
    p = paired_test(mean_of(np.zeros(7)), mean_of(differences), resamples=9999, rng=np.random.default_rng(0))
    assert p == pytest.approx(expected)
    assert 0.02 < p < 0.1


@pytest.mark.parametrize("cases", [6, 7, 10])
def test_the_smallest_p(cases):
    better = mean_of(np.linspace(0.8, 0.9, cases))
    p = paired_test(mean_of(np.zeros(cases)), better, resamples=9999, rng=np.random.default_rng(0))
    assert p == pytest.approx(smallest_p(cases)) == pytest.approx(2 / 2**cases)


def test_few_cases_have_no_test_and_equal_runs_have_p_1():
    five = mean_of(np.ones(5))
    assert math.isnan(paired_test(mean_of(np.zeros(5)), five, resamples=999, rng=np.random.default_rng(0)))
    assert paired_test(uwmgi(), uwmgi(), resamples=999, rng=np.random.default_rng(0)) == 1


def test_many_cases_are_permuted_at_random_with_the_generator_handed_in():
    rng = np.random.default_rng(3)
    first, second = mean_of(rng.normal(size=60)), mean_of(rng.normal(0.2, 1, size=60))
    one, two, three = (paired_test(first, second, resamples=999, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == two
    assert one == pytest.approx(three, abs=0.06)
    expected = stats.ttest_rel(second.sums[0], first.sums[0]).pvalue
    assert one == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("cases", [8, 20])
@pytest.mark.slow
def test_false_alarms_are_no_more_than_5_percent(simulation, cases):
    """500 pairs of runs that are alike: 5 % are seen as 5 +- 1 %."""
    share = simulation.false_alarms(
        simulation.SETTINGS["skewed"], sets=500, cases=cases, resamples=255, rng=np.random.default_rng(4)
    )
    assert 0.01 < share < 0.08


def test_holm():
    """The example of every textbook: sorted, times 4, 3, 2, 1, never falling, never above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    one, undefined = holm([0.04, math.nan])
    assert one == 0.04 and math.isnan(undefined)
    assert holm([]) == []
