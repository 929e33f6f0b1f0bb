"""The greedy choice of members: with replacement, on any score, never worse than the best member."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gisegkit.engine.greedy import choose


def test_a_member_that_helps_twice_counts_twice():
    """The mean of (0, 3) in shares 1/3 and 2/3 is 2, which nothing else comes closer to."""
    values, target = np.array([0.0, 3.0, 9.0]), 2.0

    def distance(counts):
        return abs(np.average(values, weights=counts) - target)

    choice = choose(3, distance, rounds=10, higher=False)
    assert choice.counts == (1, 2, 0) and choice.score == 0
    assert choice.alone == (2, 1, 7)


def test_the_rounds_bound_how_many_are_added():
    calls = []

    def score(counts):
        calls.append(counts)
        return float(sum(counts))

    assert choose(2, score, rounds=4).counts == (4, 0)  # of equally good ones the first
    assert len(calls) == 2 * 4


def test_undefined_scores_are_worse_than_any():
    choice = choose(3, lambda counts: math.nan if counts[0] or counts[2] else 0.1, rounds=3)
    assert choice.counts == (0, 1, 0) and choice.score == 0.1


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5), st.floats(-5, 5))
def test_it_is_never_worse_than_the_best_member(values, target):
    choice = choose(
        len(values), lambda counts: abs(np.average(values, weights=counts) - target), rounds=6, higher=False
    )
    assert choice.score <= min(choice.alone) and sum(choice.counts) <= 6
