"""Learning rate schedules, each with a linear warm-up; stepped once an optimizer step, resumed by their state_dict.

Every factory returns a torch scheduler, and raises ComponentError if there is no step.

Args:
    optimizer: whose learning rates are set.
    steps: optimizer steps of the whole training.
    warmup: fraction of all steps (rounded to a whole step) in which the learning rate grows linearly.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Callable
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from gisegkit.errors import ComponentError
from gisegkit.types import AtLeast, Between

Curve = Callable[[float], float]
"""From a share of the training, 0 to 1, to a share of the learning rate, 1 to 0."""


def constant(
    optimizer: Optimizer,
    *,
    steps: int,
    warmup: Annotated[float, Between(0, 1)] = 0.0,
) -> LRScheduler:
    """The optimizer's learning rate throughout, after a warm-up."""
    return _scheduler(optimizer, steps, warmup, lambda _: 1.0, floor=0.0)


def cosine(
    optimizer: Optimizer,
    *,
    steps: int,
    warmup: Annotated[float, Between(0, 1)] = 0.0,
    floor: Annotated[float, AtLeast(0)] = 0.0,
) -> LRScheduler:
    """From the optimizer's learning rate down to a floor along half a cosine, after a warm-up.

    Without a warm-up it equals torch's ``CosineAnnealingLR(T_max=steps, eta_min=floor)`` stepped once a batch.

    Args:
        floor: learning rate at the end.

    Raises:
        ComponentError: if the floor is above the optimizer's learning rate.

    Paper: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983
    """
    _check_floor("cosine", optimizer, floor)
    return _scheduler(optimizer, steps, warmup, _half_cosine, floor=floor)


def poly(
    optimizer: Optimizer,
    *,
    steps: int,
    warmup: Annotated[float, Between(0, 1)] = 0.0,
    power: Annotated[float, AtLeast(0)] = 0.9,
) -> LRScheduler:
    """From the optimizer's learning rate down to 0 as ``(1 - step / steps) ** power``, after a warm-up; as in nnU-Net.

    Without a warm-up it equals torch's ``PolynomialLR(total_iters=steps, power=power)`` stepped once a batch.

    Args:
        power: 1 falls along a straight line; a smaller one stays high for longer.

    Paper: Chen et al., DeepLab, arXiv:1606.00915
    """
    return _scheduler(optimizer, steps, warmup, lambda progress: (1 - progress) ** power, floor=0.0)


def onecycle(
    optimizer: Optimizer,
    *,
    steps: int,
    warmup: Annotated[float, Between(0, 0.9)] = 0.3,
    start: Annotated[float, AtLeast(1)] = 25.0,
    end: Annotated[float, AtLeast(1)] = 10000.0,
) -> LRScheduler:
    """Up to the optimizer's learning rate and down to almost nothing, along half cosines: torch's ``OneCycleLR``.

    The momentum of the optimizer stays as it is.

    Args:
        optimizer: whose learning rates are the highest ones.
        warmup: fraction of all steps in which the learning rate grows.
        start: the first learning rate is the highest one divided by this.
        end: the last learning rate is the first one divided by this.

    Paper: Smith and Topin, Super-convergence, arXiv:1708.07120
    """
    _check_steps(steps)
    return OneCycleLR(
        optimizer,
        max_lr=[float(group["lr"]) for group in optimizer.param_groups],
        total_steps=steps,
        pct_start=warmup,
        div_factor=start,
        final_div_factor=end,
        cycle_momentum=False,
    )


class Cycles(LambdaLR):
    """A schedule of cycles.

    Attributes:
        snapshots: how many steps have been made at the end of each cycle.
    """

    snapshots: tuple[int, ...] = ()


def cycles(
    optimizer: Optimizer,
    *,
    steps: int,
    flat: Annotated[float, Between(0, 0.9)] = 0.25,
    cycles: Annotated[int, AtLeast(1)] = 4,
    floor: Annotated[float, AtLeast(0)] = 0.0,
) -> LRScheduler:
    """The optimizer's learning rate at first, then cosine cycles, each from that rate down to a floor.

    The ends of the cycles are its ``snapshots``: with ``[train] average = "swa"`` the mean is that of their weights,
    and ``swa_start`` does not count. With flat = 0.2, cycles = 4 and 25 epochs, they are the ends of epochs 10, 15, 20
    and 25. Cycles that do not divide the steps differ by a step. With fewer steps than cycles, each step is a cycle.

    The cycles are those of torch's ``CosineAnnealingWarmRestarts`` stepped once a batch.

    Args:
        flat: fraction of all steps (rounded to a whole step) before the first cycle.
        cycles: how many follow.
        floor: learning rate at the end of a cycle.

    Raises:
        ComponentError: if the floor is above the optimizer's learning rate.

    Paper: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983
    """
    _check_steps(steps)
    _check_floor("cycles", optimizer, floor)
    first = min(round(flat * steps), steps - 1)
    bounds = sorted({first + round(number * (steps - first) / cycles) for number in range(cycles + 1)})

    def factor(rate: float, step: int) -> float:
        if step < first:
            return 1.0
        number = min(bisect.bisect_right(bounds, step), len(bounds) - 1)
        since, until = bounds[number - 1], bounds[number]
        return (floor + (rate - floor) * _half_cosine(min(1.0, (step - since) / (until - since)))) / rate

    scheduler = Cycles(optimizer, _by_group(optimizer, factor))
    scheduler.snapshots = tuple(bounds[1:])
    return scheduler


def _half_cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _check_floor(name: str, optimizer: Optimizer, floor: float) -> None:
    for group in optimizer.param_groups:
        if floor > group["lr"]:
            raise ComponentError(
                f"schedule {name}: floor = {floor:g} is above the optimizer's learning rate {group['lr']:g}; lower it"
            )


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ComponentError(f"schedule: training has {steps} optimizer steps; it needs at least one")


def _by_group(optimizer: Optimizer, factor: Callable[[float, int], float]) -> list[Callable[[int], float]]:
    """A factor of a group's own learning rate and of the step, for each group."""
    return [functools.partial(factor, float(group["lr"])) for group in optimizer.param_groups]


def _scheduler(optimizer: Optimizer, steps: int, warmup: float, curve: Curve, *, floor: float) -> LRScheduler:
    """A scheduler of linear growth, then ``floor + (lr - floor) * curve(progress)``, progress from 0 to 1."""
    _check_steps(steps)
    growing = round(warmup * steps)

    def factor(start: float, step: int) -> float:
        if step < growing:
            # The first step already learns, and the first step after the warm-up is the first at full rate.
            return (step + 1) / (growing + 1)
        progress = min(1.0, (step - growing) / max(1, steps - growing))
        return (floor + (start - floor) * curve(progress)) / start

    return LambdaLR(optimizer, _by_group(optimizer, factor))
