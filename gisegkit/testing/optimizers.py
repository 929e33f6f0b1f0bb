"""The contract of optimizers: every parameter goes down a slope, and a state dict restores what is remembered."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gisegkit.testing.expect import call, doubt, expect

STEPS = 20

Build = Callable[..., torch.optim.Optimizer]


def check_optimizer(build: Build) -> None:
    """An optimizer goes down a slope, with every parameter that it is given, whatever its learning rate.

    Args:
        build: called as ``build(params=[...])``, with parameters like those of a convolution and its bias.

    Raises:
        ContractError: at the first violation.
    """
    parameters = _parameters()
    optimizer = call("params", build, params=parameters)
    expect(isinstance(optimizer, torch.optim.Optimizer), f"it is no torch optimizer but {type(optimizer).__name__}")
    starts = [parameter.detach().clone() for parameter in parameters]
    _go(optimizer, parameters, STEPS)
    moves = [(p.detach() - start) for p, start in zip(parameters, starts, strict=True)]
    expect(any(bool(move.any()) for move in moves), f"{STEPS} steps change no parameter")
    expect(all(bool(move.isfinite().all()) for move in moves), f"{STEPS} steps lead to values that are not finite")
    descent = sum(float((move * slope).sum()) for move, slope in zip(moves, _slopes(), strict=True))
    expect(descent < 0, f"{STEPS} steps on a slope lead up, by {descent:.4g}; an optimizer makes the loss smaller")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    left = [str(list(parameter.shape)) for parameter in parameters if id(parameter) not in held]
    doubt(bool(left), f"it leaves out {len(left)} of {len(parameters)} parameters (of shape {', '.join(left)})")
    _check_restored(build)


def _parameters() -> list[nn.Parameter]:
    """Small ones, so that a small step is seen in float32."""
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(0.01 * torch.randn(shape, generator=generator)) for shape in ((4, 2, 3, 3), (4,))]


def _slopes() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for shape in ((4, 2, 3, 3), (4,))]


def _go(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> None:
    """Steps on a plane, as training makes them: without a closure."""
    for _ in range(steps):
        optimizer.zero_grad()
        for parameter, slope in zip(parameters, _slopes(), strict=True):
            parameter.grad = slope.clone()
        call("step(), which training calls without a closure", optimizer.step)


def _check_restored(build: Build) -> None:
    """A resumed run continues as the uninterrupted one."""
    parameters = _parameters()
    optimizer = build(params=parameters)
    _go(optimizer, parameters, 3)
    state: dict[str, Any] = copy.deepcopy(optimizer.state_dict())
    others = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    resumed = build(params=others)
    call("its own state dict", resumed.load_state_dict, state)
    for these, those in ((optimizer, parameters), (resumed, others)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _go(these, those, 3)
    equal = all(torch.equal(a, b) for a, b in zip(parameters, others, strict=True))
    doubt(not equal, "restored from its state dict it continues differently, so a resumed run differs from a whole one")
