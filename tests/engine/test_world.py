"""One process is a world of one: it agrees with itself, and shares nothing."""

from __future__ import annotations

import torch
from torch import nn

from gisegkit.engine.world import ALONE, Outcome


def test_one_process_shares_nothing():
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    ALONE.add_up([weight])
    ALONE.fill([(weight, 0)])
    ALONE.check()
    ALONE.refuse_differences([weight])
    assert weight.grad.tolist() == [1, 1] and weight.tolist() == [0, 0]
    assert (ALONE.rank, ALONE.size, ALONE.device("auto")) == (0, 1, "auto")
    assert ALONE.agree(Outcome.OUT_OF_MEMORY) is Outcome.OUT_OF_MEMORY
    assert ALONE.collect([1, 2]) == [1, 2] and ALONE.shape((2, 3), 0) == (2, 3)
