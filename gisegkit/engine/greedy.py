"""Which members make the best mean: chosen one after another, each as often as it helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Score = Callable[[Sequence[int]], float]
"""The score of a mean in which each member counts so many times."""


@dataclass(frozen=True)
class Choice:
    """The best mean that was found.

    Attributes:
        counts: how often each member counts.
        score: of that mean.
        alone: the score of each member by itself.
    """

    counts: tuple[int, ...]
    score: float
    alone: tuple[float, ...]


def choose(members: int, score: Score, *, rounds: int, higher: bool = True) -> Choice:
    """Start with the best member, and add in each round the one that makes the best mean, until none improves it.

    A member may be added again, which gives it more weight. Of equally good ones the first is taken.

    Paper: Caruana et al., Ensemble selection from libraries of models, ICML 2004, section 2 (with replacement)

    Args:
        members: how many there are, 1 or more.
        score: called for each candidate; NaN is worse than every number.
        rounds: members that the mean has at most, with repetition.
        higher: whether a higher score is better.
    """

    def better(first: float, other: float) -> bool:
        if math.isnan(first) or math.isnan(other):
            return not math.isnan(first)
        return first > other if higher else first < other

    def best_of(candidates: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], float, list[float]]:
        scores = [score(counts) for counts in candidates]
        at = 0
        for index, value in enumerate(scores):
            at = index if better(value, scores[at]) else at
        return candidates[at], scores[at], scores

    counts, found, alone = best_of([_added((0,) * members, one) for one in range(members)])
    for _ in range(rounds - 1):
        candidate, value, _ = best_of([_added(counts, one) for one in range(members)])
        if not better(value, found):
            break
        counts, found = candidate, value
    return Choice(counts, found, tuple(alone))


def _added(counts: tuple[int, ...], one: int) -> tuple[int, ...]:
    return tuple(number + (at == one) for at, number in enumerate(counts))
