"""What training keeps of its state: the best score so far."""

from __future__ import annotations

import math

import pytest

from gisegkit.engine.training import BestSoFar


@pytest.mark.parametrize(
    ("scores", "best"),
    [([math.nan, math.nan, 0.1, 0.2], [True, False, True, True]), ([0.1, math.nan, 0.05], [True, False, False])],
)
def test_undefined_scores_are_never_best_except_at_first(scores, best):
    best_so_far = BestSoFar()
    assert [best_so_far.update(score, higher=True) for score in scores] == best
