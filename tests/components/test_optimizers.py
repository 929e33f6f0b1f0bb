"""optimizers.py: one step of each equals its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gisegkit.components.optimizers import adam, adamw, sgd
from gisegkit.errors import ComponentError

START, GRADIENT = 2.0, 0.5


def after(make, steps: int = 1, **options) -> float:
    """A weight of START after steps with a gradient of GRADIENT."""
    weight = nn.Parameter(torch.tensor([START], dtype=torch.float64))
    optimizer = make([weight], **options)
    for _ in range(steps):
        weight.grad = torch.full_like(weight, GRADIENT)
        optimizer.step()
    return weight.item()


def test_adam_adds_weight_decay_to_the_gradient():
    # The first step of Adam is lr times the sign of the gradient, so a decay that turns the sign turns the step.
    assert after(adam, lr=0.1) == pytest.approx(START - 0.1, abs=1e-7)
    turning = -0.5
    weight = nn.Parameter(torch.tensor([START], dtype=torch.float64))
    weight.grad = torch.full_like(weight, turning)
    adam([weight], lr=0.1, weight_decay=0.5).step()
    assert turning + 0.5 * START > 0
    assert weight.item() == pytest.approx(START - 0.1, abs=1e-7)


def test_adamw_takes_weight_decay_off_the_weight():
    assert after(adamw, lr=0.1, weight_decay=0.5) == pytest.approx(START * (1 - 0.1 * 0.5) - 0.1, abs=1e-7)


def test_betas_are_handed_on():
    # With both betas 0 nothing is remembered: every step is lr times the sign.
    assert after(adam, steps=3, lr=0.1, betas=(0.0, 0.0)) == pytest.approx(START - 0.3, abs=1e-7)
    assert adamw([nn.Parameter(torch.zeros(1))], betas=(0.5, 0.6)).defaults["betas"] == (0.5, 0.6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_momentum(nesterov):
    decayed = GRADIENT + 0.1 * START
    first = decayed * (1.9 if nesterov else 1.0)
    assert after(sgd, lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.1) == pytest.approx(START - 0.1 * first)
    second = after(sgd, steps=2, lr=0.1, momentum=0.9, nesterov=nesterov)
    velocities = [GRADIENT, 1.9 * GRADIENT]
    moves = [GRADIENT + 0.9 * v for v in velocities] if nesterov else velocities
    assert second == pytest.approx(START - 0.1 * sum(moves))


@pytest.mark.parametrize(("make", "options"), [(adam, {}), (adamw, {}), (sgd, {}), (sgd, {"nesterov": True})])
def test_a_first_step_that_the_gradient_scaler_leaves_out_leaves_nothing_behind(make, options):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(10_000))
    optimizer, scaler = make([weight], lr=0.1, **options), torch.amp.GradScaler("cpu")
    for gradient in (torch.inf, 1.0):
        litter = [torch.full((10_000,), torch.nan) for _ in range(8)]  # memory that is handed out again
        weight.grad = torch.full_like(weight, gradient) * scaler.scale(torch.ones(()))
        del litter
        scaler.step(optimizer)
        scaler.update()
    expected = nn.Parameter(torch.zeros(1))
    optimizer = make([expected], lr=0.1, **options)
    expected.grad = torch.ones(1)
    optimizer.step()
    assert torch.equal(weight.detach(), expected.detach().expand(10_000))


def test_impossible_settings_are_errors_of_the_user():
    weight = nn.Parameter(torch.zeros(1))
    with pytest.raises(ComponentError, match=r"nesterov.*momentum above 0"):
        sgd([weight], momentum=0.0, nesterov=True)
    for make in (adam, adamw):
        with pytest.raises(ComponentError, match=r"\[0.9, 1.0\] must both be below 1"):
            make([weight], betas=(0.9, 1.0))
