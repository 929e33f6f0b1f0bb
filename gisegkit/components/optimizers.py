"""Optimizers of torch, with the defaults of this field and signatures that a recipe can be checked against.

All are fused: one pass over weights, gradients and what is remembered of them, in place of one for each operation, on
CPU, CUDA and MPS alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from torch import nn

from gisegkit.errors import ComponentError
from gisegkit.types import Above, AtLeast, Between


def adam(
    params: Iterable[nn.Parameter],
    *,
    lr: Annotated[float, Above(0)] = 1e-3,
    betas: tuple[Annotated[float, Between(0, 1)], Annotated[float, Between(0, 1)]] = (0.9, 0.999),
    weight_decay: Annotated[float, AtLeast(0)] = 0.0,
) -> torch.optim.Optimizer:
    """Adam; weight decay is added to the gradient (L2).

    Args:
        params: what is trained.
        lr: learning rate.
        betas: how much of the running means of gradient and squared gradient is kept each step, below 1.
        weight_decay: factor of the weights that is added to their gradient.

    Returns:
        The torch optimizer.

    Raises:
        ComponentError: if a beta is 1.

    Paper: Kingma and Ba, Adam: a method for stochastic optimization, arXiv:1412.6980
    """
    return torch.optim.Adam(params, lr=lr, betas=_checked(betas), weight_decay=weight_decay, fused=True)


def adamw(
    params: Iterable[nn.Parameter],
    *,
    lr: Annotated[float, Above(0)] = 1e-3,
    betas: tuple[Annotated[float, Between(0, 1)], Annotated[float, Between(0, 1)]] = (0.9, 0.999),
    weight_decay: Annotated[float, AtLeast(0)] = 1e-2,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay.

    Args:
        params: what is trained.
        lr: learning rate.
        betas: how much of the running means of gradient and squared gradient is kept each step, below 1.
        weight_decay: share of the weights, times lr, that is taken off each step.

    Returns:
        The torch optimizer.

    Raises:
        ComponentError: if a beta is 1.

    Paper: Loshchilov and Hutter, Decoupled weight decay regularization, arXiv:1711.05101
    """
    return torch.optim.AdamW(params, lr=lr, betas=_checked(betas), weight_decay=weight_decay, fused=True)


def sgd(
    params: Iterable[nn.Parameter],
    *,
    lr: Annotated[float, Above(0)] = 1e-2,
    momentum: Annotated[float, Between(0, 1)] = 0.9,
    nesterov: bool = False,
    weight_decay: Annotated[float, AtLeast(0)] = 0.0,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        params: what is trained.
        lr: learning rate.
        momentum: how much of the last step is kept; 0 turns it off.
        nesterov: look ahead along the momentum; needs a momentum above 0.
        weight_decay: factor of the weights that is added to their gradient.

    Returns:
        The torch optimizer.

    Raises:
        ComponentError: if nesterov is on without momentum.

    Paper: Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013
    """
    if nesterov and momentum == 0:
        raise ComponentError("optimizer sgd: nesterov = true needs a momentum above 0, such as 0.9")
    made = torch.optim.SGD(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)
    if momentum:
        # Where a gradient scaler leaves the first step out, the fused kernel would never fill the momentum that torch
        # has just allocated, and go on with what lay in that memory. Started at 0 the steps are the same.
        for param in made.param_groups[0]["params"]:
            made.state[param]["momentum_buffer"] = torch.zeros_like(param)
    return made


def _checked(betas: tuple[float, float]) -> tuple[float, float]:
    """Refuse a beta of 1, with which a running mean would never move."""
    if max(betas) >= 1:
        raise ComponentError(f"optimizer: betas = [{betas[0]}, {betas[1]}] must both be below 1, such as [0.9, 0.999]")
    return betas
