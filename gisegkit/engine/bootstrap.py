"""Whether a score, or the difference of two, is more than luck: intervals and a paired test over cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from gisegkit.types import FloatArray

LEVEL = 0.95
"""Of every interval; a difference is shown where the test's p is below 1 - LEVEL."""

FEWEST = 6
"""Cases below which nothing is computed: with 5, no sign-flip test can give a p below 2 / 2^5 = 0.0625."""


@dataclass(frozen=True)
class CaseSums:
    """What a score is made of, case by case: it is ``combine`` of each part's sum over cases divided by its count.

    Attributes:
        parts: names of the P parts.
        sums: ``[P, N]`` of the defined values of each of N cases.
        counts: ``[P, N]`` of these values.
        combine: the means by part to the score.
    """

    parts: tuple[str, ...]
    sums: FloatArray
    counts: FloatArray
    combine: Callable[[Mapping[str, float]], float]

    @property
    def cases(self) -> int:
        """N."""
        return int(self.sums.shape[1])

    def score(self) -> float:
        """The score of all cases, as the scoreboard computes it; NaN where a part has no value."""
        return float(self.scores(np.ones((1, self.cases)))[0])

    def scores(self, weights: FloatArray) -> FloatArray:
        """``[B]`` scores of sets in which each case occurs as often as ``weights`` ``[B, N]`` says."""
        return self._combined(self._means(weights))

    def influence(self, weights: FloatArray) -> FloatArray:
        """``[B, N]``: how far each case pulls the score of its set, to first order (the delta method)."""
        means = self._means(weights)  # [B, P]
        sizes = weights @ self.counts.T / self.cases
        pull = np.zeros(weights.shape)
        for index, slope in enumerate(self._slopes()):
            off = self.sums[index] - means[:, index, None] * self.counts[index]
            pull += slope * off / np.where(sizes[:, index] > 0, sizes[:, index], math.nan)[:, None]
        return pull

    def swapped(self, other: CaseSums, own: FloatArray) -> FloatArray:
        """``[B]`` scores of sets that take each case from this run where ``own`` ``[B, N]`` is 1, else from the other.

        Args:
            other: the same cases of another run.
        """
        both = CaseSums(
            self.parts, np.hstack([self.sums, other.sums]), np.hstack([self.counts, other.counts]), self.combine
        )
        return both.scores(np.hstack([own, 1 - own]))

    def _means(self, weights: FloatArray) -> FloatArray:
        counts = weights @ self.counts.T
        means: FloatArray = weights @ self.sums.T / np.where(counts > 0, counts, math.nan)
        return means

    def _combined(self, means: FloatArray) -> FloatArray:
        return np.array([self.combine(dict(zip(self.parts, row, strict=True))) for row in means.tolist()])

    def _slopes(self) -> FloatArray:
        """``[P]``: how fast the score changes with each part's mean."""
        means = self._means(np.ones((1, self.cases)))
        step = 1e-4 * np.eye(len(self.parts))
        slopes: FloatArray = (self._combined(means + step) - self._combined(means - step)) / 2e-4
        return slopes


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval; the ends are NaN where the cases are too few, or too few of them count."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(run: CaseSums, minus: CaseSums | None = None, *, resamples: int, rng: Generator) -> Interval:
    """The symmetric bootstrap-t interval over cases of a score, or of the difference of two runs on the same cases.

    Whole cases are drawn, with every scan and slice of theirs, and the score is computed anew from the sums. The
    interval is the estimate plus and minus q standard errors, q being the 95 % quantile of the resamples' deviations
    in units of their own standard errors. docs/compare.md has its measured coverage.

    Paper: Hall, On symmetric bootstrap confidence intervals, doi:10.1111/j.2517-6161.1988.tb01707.x
    """
    everything = np.ones((1, run.cases))

    def difference(compute: Callable[[CaseSums], FloatArray]) -> FloatArray:
        return compute(run) if minus is None else compute(run) - compute(minus)

    def errors(weights: FloatArray) -> FloatArray:
        pull = difference(lambda item: item.influence(weights))
        spread: FloatArray = np.sqrt((weights * pull**2).sum(axis=1) / (run.cases * (run.cases - 1)))
        return spread

    estimate = float(difference(lambda item: item.scores(everything))[0])
    if run.cases < FEWEST or math.isnan(estimate):
        return Interval(estimate, math.nan, math.nan)
    error = float(errors(everything)[0])
    if error == 0:  # every case says exactly the same
        return Interval(estimate, estimate, estimate)
    weights = rng.multinomial(run.cases, np.full(run.cases, 1 / run.cases), size=resamples).astype(np.float64)
    off = np.abs(difference(lambda item: item.scores(weights)) - estimate)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = off / errors(weights)
    deviations[np.isnan(deviations)] = math.inf  # a resample that cannot be scored counts against certainty
    reach = float(np.quantile(deviations, LEVEL, method="higher")) * error
    reach = reach if math.isfinite(reach) else math.nan
    return Interval(estimate, estimate - reach, estimate + reach)


def paired_test(first: CaseSums, second: CaseSums, *, resamples: int, rng: Generator) -> float:
    """The two-sided p of the hypothesis that it does not matter which run a case's prediction comes from.

    A permutation test (scipy): the two runs' predictions are swapped case by case and the difference of the scores is
    computed anew; all 2^N ways where they are no more than ``resamples``, else as many random ones.

    Returns:
        p, NaN with fewer than ``FEWEST`` cases or where a score is undefined.
    """
    observed = second.score() - first.score()
    if first.cases < FEWEST or math.isnan(observed):
        return math.nan

    def difference(zeros: Any, ones: Any, axis: int) -> FloatArray:
        """Of what scipy shuffled: a case whose zero and one are exchanged takes the other run's prediction."""
        flat = np.moveaxis(np.asarray(zeros), axis, -1)
        kept = 1 - flat.reshape(-1, flat.shape[-1])
        values = second.swapped(first, kept) - first.swapped(second, kept)
        values[np.isnan(values)] = observed  # counts against a difference
        return values.reshape(flat.shape[:-1])

    from scipy.stats import permutation_test  # here: it takes a while, and most commands test nothing

    result = permutation_test(
        (np.zeros(first.cases), np.ones(first.cases)),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        random_state=rng,
    )
    return float(result.pvalue)


def smallest_p(cases: int) -> float:
    """The smallest p that ``paired_test`` can give, however different two runs are."""
    return min(1.0, 2.0 / 2.0**cases)


def holm(values: Sequence[float]) -> list[float]:
    """P values adjusted for being several, by Holm's step-down method; NaN stays NaN and does not count.

    Paper: Holm, A simple sequentially rejective multiple test procedure, jstor.org/stable/4615733
    """
    order = sorted((p, index) for index, p in enumerate(values) if not math.isnan(p))
    adjusted = list(values)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[index] = highest
    return adjusted
