"""Measures how often the intervals of ``giseg compare`` hold the true value, for the table in docs/compare.md.

    python benchmarks/interval_coverage.py [REPETITIONS]

Simulates what two runs score: slices in scans in cases, cases of unequal size, each with a quality of its own that
both runs share, and an effect of the second run that differs from case to case. The truth is the score of very many
cases. The same simulation, with fewer repetitions, is a test.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from gisegkit.components.metrics.overlap_metrics import UWMGIScore
from gisegkit.engine.bootstrap import CaseSums, bootstrap_interval, paired_test
from gisegkit.types import FloatArray

SLICES, SCANS, CLASSES = 60, 5, 3  # the most that a case has
COMBINE = UWMGIScore().combine


@dataclass(frozen=True)
class Setting:
    """How scores spread.

    Attributes:
        case, slice_, effect: standard deviations, on the logit scale of Dice, of the cases' quality, of slices within a
            case, and of the second run's effect between cases.
        lost: share of organs that a run misses altogether: Dice 0 (twice as often) and distance 1.
        informative: how much more labelled slices a better case has.
        gain: the mean effect of the second run.
    """

    case: float
    slice_: float
    effect: float
    lost: float
    informative: float
    gain: float = 0.1


SETTINGS = {
    "even": Setting(case=0.5, slice_=0.8, effect=0.3, lost=0.0, informative=0.0),
    "skewed": Setting(case=1.2, slice_=1.0, effect=0.5, lost=0.03, informative=0.5),
    "disasters": Setting(case=1.0, slice_=1.0, effect=0.3, lost=0.08, informative=0.5),
}


def logistic(values: FloatArray) -> FloatArray:
    """The real line to (0, 1)."""
    return 1 / (1 + np.exp(-values))


def simulate(setting: Setting, sets: int, cases: int, rng: np.random.Generator) -> list[tuple[FloatArray, FloatArray]]:
    """Both runs' per-case sums and counts of Dice and Hausdorff: twice (``[sets, 2, cases]``, the same)."""
    quality, change = rng.normal(size=(2, sets, cases, 1))
    scans = rng.integers(1, SCANS + 1, (sets, cases, 1))
    labelled = logistic(-0.5 + setting.informative * quality) * scans / SCANS
    defined = rng.random((sets, cases, SLICES)) < labelled
    measured = np.arange(SCANS * CLASSES) < CLASSES * scans
    logit = 1.5 + setting.case * quality + setting.slice_ * rng.normal(size=defined.shape)
    size = rng.normal(size=measured.shape)
    runs = []
    for effect in (0 * change, setting.gain + setting.effect * change):
        dice = logistic(logit + effect + 0.5 * rng.normal(size=defined.shape))
        dice[rng.random(dice.shape) < 2 * setting.lost] = 0
        spread = 0.6 * size - 0.4 * setting.case * quality - 0.3 * effect + 0.3 * rng.normal(size=size.shape)
        distance = np.minimum(1, 0.08 * np.exp(spread))
        distance[rng.random(distance.shape) < setting.lost] = 1
        sums = np.stack([(dice * defined).sum(axis=2), (distance * measured).sum(axis=2)], axis=1)
        counts = np.stack([defined.sum(axis=2), measured.sum(axis=2)], axis=1)
        runs.append((sums, counts.astype(float)))
    return runs


def as_case_sums(sums: FloatArray, counts: FloatArray) -> CaseSums:
    """The sums of one data set, ``[2, cases]``, as gisegkit takes them."""
    return CaseSums(("dice", "hausdorff"), sums, counts, COMBINE)


@functools.cache
def true_scores(setting: Setting) -> list[float]:
    """The score of 100,000 cases, for both runs."""
    rng = np.random.default_rng(0)
    total = np.zeros((2, 2, 2))
    for _ in range(2):
        total += [[part.sum(axis=(0, 2)) for part in run] for run in simulate(setting, 1000, 50, rng)]
    return [as_case_sums(sums[:, None], counts[:, None]).score() for sums, counts in total]


def coverage(setting: Setting, *, sets: int, cases: int, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Shares of data sets whose interval holds the truth: of the first run's score, and of the difference."""
    first, second = true_scores(setting)
    held = np.zeros(2)
    (sums, counts), (other_sums, other_counts) = simulate(setting, sets, cases, rng)
    for index in range(sets):
        a = as_case_sums(sums[index], counts[index])
        b = as_case_sums(other_sums[index], other_counts[index])
        for column, (interval, truth) in enumerate(
            (
                (bootstrap_interval(a, resamples=resamples, rng=rng), first),
                (bootstrap_interval(b, a, resamples=resamples, rng=rng), second - first),
            )
        ):
            held[column] += interval.low <= truth <= interval.high
    return held / sets


def false_alarms(setting: Setting, *, sets: int, cases: int, resamples: int, rng: np.random.Generator) -> float:
    """The share of data sets where two runs of equal worth have p < 0.05."""
    (sums, counts), (other_sums, other_counts) = simulate(setting, sets, cases, rng)
    swap = rng.random((sets, 1, cases)) < 0.5  # makes the runs alike in every respect
    count = 0
    for index in range(sets):
        a = np.where(swap[index], (other_sums[index], other_counts[index]), (sums[index], counts[index]))
        b = np.where(swap[index], (sums[index], counts[index]), (other_sums[index], other_counts[index]))
        count += paired_test(as_case_sums(*a), as_case_sums(*b), resamples=resamples, rng=rng) < 0.05
    return count / sets


def usual_coverage(
    setting: Setting, method: str, *, sets: int, cases: int, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Of the difference: the share of scipy's intervals that hold the truth, and their mean width."""
    first, second = true_scores(setting)
    held, width = 0, 0.0
    a, b = simulate(setting, sets, cases, rng)
    for index in range(sets):
        runs = [as_case_sums(sums[index], counts[index]) for sums, counts in (a, b)]

        def difference(drawn: FloatArray, axis: int, runs: list[CaseSums] = runs) -> FloatArray:
            rows = np.moveaxis(drawn, axis, -1).reshape(-1, drawn.shape[axis])
            weights = np.stack([np.bincount(row, minlength=cases) for row in rows]).astype(float)
            return (runs[1].scores(weights) - runs[0].scores(weights)).reshape(drawn.shape[:-1])

        found = stats.bootstrap(
            (np.arange(cases),), difference, n_resamples=resamples, method=method, vectorized=True, rng=rng
        ).confidence_interval
        held += found.low <= second - first <= found.high
        width += found.high - found.low
    return held / sets, width / sets


def print_usual(sets: int) -> None:
    """The table of the usual intervals."""
    print("| cases | percentile | BCa | width of percentile to ours |")
    print("|---|---|---|---|")
    setting = SETTINGS["skewed"]
    for cases in (8, 12, 20, 40):
        options: dict[str, Any] = {"sets": sets, "cases": cases, "resamples": 999}
        percentile, width = usual_coverage(setting, "percentile", **options, rng=np.random.default_rng(cases))
        bca, _ = usual_coverage(setting, "BCa", **options, rng=np.random.default_rng(cases))
        rng = np.random.default_rng(cases)
        (s0, c0), (s1, c1) = simulate(setting, sets, cases, rng)
        ours = [
            bootstrap_interval(as_case_sums(*b), as_case_sums(*a), resamples=999, rng=rng)
            for a, b in zip(zip(s0, c0, strict=True), zip(s1, c1, strict=True), strict=True)
        ]
        share = width / float(np.mean([item.high - item.low for item in ours]))
        print(f"| {cases} | {percentile:.1%} | {bca:.1%} | {share:.2f} |", flush=True)


def main(sets: int) -> None:
    """Print the table."""
    print("| cases | scores | interval of the score | interval of the difference | test, p < 0.05 by luck |")
    print("|---|---|---|---|---|")
    for cases in (6, 8, 12, 20, 40):
        for name, setting in SETTINGS.items():
            rng = np.random.default_rng(cases)
            score, difference = coverage(setting, sets=sets, cases=cases, resamples=999, rng=rng)
            alarms = false_alarms(setting, sets=sets, cases=cases, resamples=999, rng=rng)
            print(f"| {cases} | {name} | {score:.1%} | {difference:.1%} | {alarms:.1%} |", flush=True)
    print()
    print_usual(sets // 2)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
