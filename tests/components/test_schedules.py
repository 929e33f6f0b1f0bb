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
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR, PolynomialLR

from gisegkit.components.schedules import constant, cosine, cycles, onecycle, poly
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


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 200), rate=st.floats(1e-5, 1.0), power=st.sampled_from([0.5, 0.9, 1.0, 3.0]))
def test_poly_equals_torch(steps, rate, power):
    ours, theirs = optimizer(rate), optimizer(rate)
    expected = rates(theirs, PolynomialLR(theirs, total_iters=steps, power=power), steps)
    assert rates(ours, poly(ours, steps=steps, power=power), steps) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 9, 40])
def test_onecycle_is_torchs_with_the_optimizers_rate_on_top(steps):
    ours, theirs = optimizer(0.1), torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    expected = rates(theirs, OneCycleLR(theirs, max_lr=0.1, total_steps=steps, cycle_momentum=False), steps)[:-1]
    values = rates(ours, onecycle(ours, steps=steps), steps)[:-1]
    assert values == pytest.approx(expected, abs=1e-12)
    if steps == 40:
        assert values[0] == pytest.approx(0.1 / 25) and values[-1] == pytest.approx(0.1 / 25 / 1e4)
        assert max(values) == pytest.approx(0.1) and values.index(max(values)) == 11, "after 0.3 of the steps"


def test_onecycle_keeps_the_ratio_of_groups_and_takes_any_warm_up():
    for warmup in (0.0, 0.05, 0.9):
        ours = optimizer(0.4, 0.2)
        scheduler = onecycle(ours, steps=10, warmup=warmup)
        for _ in range(10):
            assert scheduler.get_last_lr()[0] == pytest.approx(2 * scheduler.get_last_lr()[1])
            ours.step()
            scheduler.step()


@pytest.mark.parametrize(("flat", "number"), [(0.0, 1), (0.0, 4), (0.2, 4), (0.6, 2)])
def test_cycles_are_flat_and_then_torchs_warm_restarts(flat, number):
    ours, theirs = optimizer(0.1), optimizer(0.1)
    first = round(20 * flat)
    restarts = CosineAnnealingWarmRestarts(theirs, T_0=(20 - first) // number, eta_min=0.01)
    expected = [0.1] * first + rates(theirs, restarts, 20 - first)[:-1]
    scheduler = cycles(ours, steps=20, flat=flat, cycles=number, floor=0.01)
    assert rates(ours, scheduler, 20)[:-1] == pytest.approx(expected, abs=1e-12)
    length = (20 - first) // number
    assert scheduler.snapshots == tuple(range(first + length, 21, length)) and len(scheduler.snapshots) == number


def test_the_snapshots_of_the_example_are_the_ends_of_epochs():
    scheduler = cycles(optimizer(0.1), steps=25 * 7, flat=0.2, cycles=4)
    assert [step / 7 for step in scheduler.snapshots] == [10, 15, 20, 25]


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(1, 60), flat=st.floats(0, 0.9), number=st.integers(1, 12))
def test_a_cycle_ends_low_and_the_next_begins_at_the_full_rate(steps, flat, number):
    ours = optimizer(0.1)
    scheduler = cycles(ours, steps=steps, flat=flat, cycles=number)
    values, first = rates(ours, scheduler, steps)[:-1], min(round(flat * steps), steps - 1)
    assert scheduler.snapshots[-1] == steps and len(scheduler.snapshots) == min(number, steps - first)
    assert values[:first] == [0.1] * first
    starts = [first, *scheduler.snapshots[:-1]]
    lengths = [end - start for start, end in zip(starts, scheduler.snapshots, strict=True)]
    assert max(lengths) - min(lengths) <= 1
    for start, end in zip(starts, scheduler.snapshots, strict=True):
        cycle = values[start:end]
        assert cycle[0] == pytest.approx(0.1) and cycle == sorted(cycle, reverse=True)


@pytest.mark.parametrize("make", [constant, cosine, poly])
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


@pytest.mark.parametrize("make", [constant, cosine, poly, onecycle, cycles])
def test_goes_on_from_its_state_as_if_never_stopped(make):
    start = {"flat" if make is cycles else "warmup": 0.3}
    whole = optimizer(0.1)
    expected = rates(whole, make(whole, steps=9, **start), 9)
    first = optimizer(0.1)
    scheduler = make(first, steps=9, **start)
    rates(first, scheduler, 4)
    saved = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
    second = optimizer(0.1)
    resumed = make(second, steps=9, **start)
    second.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert rates(second, resumed, 5) == expected[4:]


@pytest.mark.parametrize("make", [constant, cosine, poly, onecycle, cycles])
def test_no_steps_are_refused(make):
    with pytest.raises(ComponentError, match="0 optimizer steps"):
        make(optimizer(0.1), steps=0)


def test_a_floor_above_the_rate_is_refused():
    with pytest.raises(ComponentError, match=r"floor = 0.2 is above.*0.1"):
        cosine(optimizer(0.1), steps=3, floor=0.2)
    with pytest.raises(ComponentError, match=r"schedule cycles: floor = 0.2 is above.*0.1"):
        cycles(optimizer(0.1), steps=3, floor=0.2)
