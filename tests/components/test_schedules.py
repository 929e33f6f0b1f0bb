"""schedules.py: exact values, equal to torch's where torch has them, and resumable."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from gisegkit.components.schedules import constant, cosine
from gisegkit.errors import ComponentError


def optimizer(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=1.0)


def rates(chosen, scheduler, steps: int) -> list[float]:
    """The learning rate of the first group at each of the steps, and after the last."""
    values = []
    for _ in range(steps):
        values.append(chosen.param_groups[0]["lr"])
        chosen.step()
        scheduler.step()
    return [*values, chosen.param_groups[0]["lr"]]


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(1, 200), rate=st.floats(1e-5, 1.0), share=st.floats(0, 1))
def test_cosine_equals_torch(steps, rate, share):
    ours, theirs = optimizer(rate), optimizer(rate)
    floor = share * rate
    expected = rates(theirs, CosineAnnealingLR(theirs, T_max=steps, eta_min=floor), steps)
    assert rates(ours, cosine(ours, steps=steps, floor=floor), steps) == pytest.approx(expected, abs=1e-12)


def test_warm_up_grows_linearly_to_the_full_rate_and_the_cosine_takes_the_rest():
    ours = optimizer(1.0)
    values = rates(ours, cosine(ours, steps=10, warmup=0.4), 10)
    assert values[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0], abs=1e-12)
    assert values[5:] == pytest.approx([(1 + math.cos(math.pi * step / 6)) / 2 for step in range(1, 7)], abs=1e-12)


def test_constant_keeps_the_rate_after_its_warm_up():
    ours = optimizer(0.5)
    assert rates(ours, constant(ours, steps=4), 4) == [0.5] * 5
    ours = optimizer(0.5)
    assert rates(ours, constant(ours, steps=4, warmup=0.25), 4) == pytest.approx([0.25, 0.5, 0.5, 0.5, 0.5], abs=1e-12)


@pytest.mark.parametrize("make", [constant, cosine])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
def test_every_step_learns_and_never_above_the_rate(make, steps, warmup):
    ours = optimizer(0.1)
    values = rates(ours, make(ours, steps=steps, warmup=warmup), steps)[:-1]
    assert all(0 < value <= 0.1 for value in values)
    growing = round(warmup * steps)
    assert all(earlier < later for earlier, later in itertools.pairwise(values[:growing]))


def test_groups_keep_their_own_rates_and_share_the_floor():
    ours = optimizer(0.4, 0.2)
    rates(ours, cosine(ours, steps=4, floor=0.1), 2)
    fresh = optimizer(0.4, 0.2)
    scheduler = cosine(fresh, steps=4, floor=0.1)
    rates(fresh, scheduler, 2)
    assert scheduler.get_last_lr() == pytest.approx([0.25, 0.15], abs=1e-12)


@pytest.mark.parametrize("make", [constant, cosine])
def test_goes_on_from_its_state_as_if_never_stopped(make):
    whole = optimizer(0.1)
    expected = rates(whole, make(whole, steps=9, warmup=0.3), 9)
    first = optimizer(0.1)
    scheduler = make(first, steps=9, warmup=0.3)
    rates(first, scheduler, 4)
    saved = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
    second = optimizer(0.1)
    resumed = make(second, steps=9, warmup=0.3)
    second.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert rates(second, resumed, 5) == expected[4:]


@pytest.mark.parametrize("make", [constant, cosine])
def test_no_steps_are_refused(make):
    with pytest.raises(ComponentError, match="0 optimizer steps"):
        make(optimizer(0.1), steps=0)


def test_a_floor_above_the_rate_is_refused():
    with pytest.raises(ComponentError, match=r"floor = 0.2 lies above.*0.1"):
        cosine(optimizer(0.1), steps=3, floor=0.2)
