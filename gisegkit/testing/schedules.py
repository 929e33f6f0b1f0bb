"""The contract of learning rate schedules: finite rates of 0 or more, which go on after a resume; their snapshots."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from gisegkit.testing.expect import call, expect

MOST = 200
"""Steps of a run that are tried, however long it is."""


def _sgd(*, params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=0.1)


def snapshots_problem(snapshots: Any, *, steps: int) -> str:
    """What is wrong with the ``snapshots`` of a schedule, in words; empty if nothing is.

    Args:
        snapshots: how many steps have been made when the weights are to be taken into a mean, in order.
        steps: of the whole training.
    """
    if not isinstance(snapshots, tuple | list) or not all(type(step) is int for step in snapshots):
        return f"snapshots is {snapshots!r}, not a tuple of whole numbers of steps"
    if not snapshots:
        return "snapshots is empty; leave the attribute out, or set it to None, if there are none"
    if list(snapshots) != sorted(set(snapshots)):
        return f"snapshots are {list(snapshots)}, which do not rise"
    outside = [step for step in snapshots if not 1 <= step <= steps]
    return f"snapshots has {outside[0]}, and the training has steps 1 to {steps}" if outside else ""


def check_schedule(
    build: Callable[..., Any],
    *,
    steps: Sequence[int] = (1, 7, 50),
    optimizer: Callable[..., torch.optim.Optimizer] = _sgd,
) -> None:
    """A schedule gives finite rates of 0 or more, and resumes; its ``snapshots``, if it has any, are steps of the run.

    Args:
        build: called as ``build(optimizer=, steps=)``.
        steps: lengths of the runs that are tried, in optimizer steps.
        optimizer: called as ``optimizer(params=[...])``.

    Raises:
        ContractError: at the first violation.
    """
    for count in steps:
        tried = min(count, MOST)
        rates, resumed = (_rates(build, optimizer, count, tried, stop) for stop in (None, tried // 2))
        wrong = [rate for rate in rates if not (math.isfinite(rate) and rate >= 0)]
        expect(not wrong, f"of {count} steps, one has the learning rate {wrong[0] if wrong else ''}")
        expect(rates == resumed, "a schedule restored from its state dict goes on with other rates")
        made = call(f"{count} steps", build, optimizer=optimizer(params=[nn.Parameter(torch.zeros(1))]), steps=count)
        if (snapshots := getattr(made, "snapshots", None)) is not None:
            problem = snapshots_problem(snapshots, steps=count)
            expect(not problem, f"of {count} steps: {problem}")


def _rates(
    build: Callable[..., Any], make: Callable[..., Any], steps: int, tried: int, stop: int | None
) -> list[float]:
    """The rate of each step; with stop, everything is restored from its state dict there."""
    what = f"{steps} steps"
    optimizer = make(params=[nn.Parameter(torch.zeros(1))])
    schedule = call(what, build, optimizer=optimizer, steps=steps)
    rates = []
    for step in range(tried):
        if step == stop:
            states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
            optimizer = make(params=[nn.Parameter(torch.zeros(1))])
            schedule = call(what, build, optimizer=optimizer, steps=steps)
            optimizer.load_state_dict(states[0])
            call("its own state dict", schedule.load_state_dict, states[1])
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        call(f"step() number {step + 1} of {steps}", schedule.step)
    return rates
