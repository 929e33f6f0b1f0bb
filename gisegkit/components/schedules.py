"""Learning rate schedules, each with a linear warm-up; stepped once an optimizer step, resumed by their state_dict."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from gisegkit.errors import ComponentError
from gisegkit.types import AtLeast, Between


def constant(
    optimizer: Optimizer,
    *,
    steps: int,
    warmup: Annotated[float, Between(0, 1)] = 0.0,
) -> LRScheduler:
    """The optimizer's learning rate throughout, after a warm-up.

    Args:
        optimizer: whose learning rates are set.
        steps: optimizer steps of the whole training.
        warmup: fraction of all steps (rounded to a whole step) in which the learning rate grows linearly.

    Returns:
        The torch scheduler.

    Raises:
        ComponentError: if there is no step.
    """
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
        optimizer: whose learning rates are set.
        steps: optimizer steps of the whole training.
        warmup: fraction of all steps (rounded to a whole step) in which the learning rate grows linearly.
        floor: learning rate at the end.

    Returns:
        The torch scheduler.

    Raises:
        ComponentError: if there is no step, or if the floor lies above the optimizer's learning rate.

    Paper: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983
    """
    for group in optimizer.param_groups:
        if floor > group["lr"]:
            raise ComponentError(
                f"schedule cosine: floor = {floor:g} lies above the optimizer's learning rate {group['lr']:g}; lower it"
            )
    return _scheduler(optimizer, steps, warmup, lambda progress: (1 + math.cos(math.pi * progress)) / 2, floor=floor)


def _scheduler(
    optimizer: Optimizer, steps: int, warmup: float, curve: Callable[[float], float], *, floor: float
) -> LRScheduler:
    """A scheduler of linear growth, then ``floor + (lr - floor) * curve(progress)``, progress from 0 to 1."""
    if steps < 1:
        raise ComponentError(f"schedule: training has {steps} optimizer steps; it needs at least one")
    growing = round(warmup * steps)

    def factor(start: float, step: int) -> float:
        if step < growing:
            # The first step already learns, and the first step after the warm-up is the first at full rate.
            return (step + 1) / (growing + 1)
        progress = min(1.0, (step - growing) / max(1, steps - growing))
        return (floor + (start - floor) * curve(progress)) / start

    return LambdaLR(optimizer, [functools.partial(factor, float(group["lr"])) for group in optimizer.param_groups])
