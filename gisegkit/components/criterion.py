"""The weighted sum of losses that training minimises."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import nn

from gisegkit.components.losses import prepare
from gisegkit.errors import ComponentError

IGNORED_LOGIT = -1e4
"""Probability 0 in every precision, and still finite in float16."""


class Criterion(nn.Module):
    """The weighted sum of losses, without the pixels whose target is NaN.

    A loss whose ``forward`` has a parameter ``valid`` is handed ``[B, K, H, W]`` bool and must leave the other pixels
    out itself; every loss sees them as predicted 0 and labelled 0, and no gradient comes from them.

    Args:
        terms: name, weight and loss of each term.

    Raises:
        ComponentError: if there is no term.
    """

    def __init__(self, terms: Sequence[tuple[str, float, nn.Module]]) -> None:
        super().__init__()
        if not terms:
            raise ComponentError("training needs at least one loss; add a [[loss]] to the recipe")
        self.names = tuple(name for name, _, _ in terms)
        self.weights = tuple(float(weight) for _, weight, _ in terms)
        self.losses = nn.ModuleList(loss for _, _, loss in terms)
        self.takes_valid = tuple("valid" in inspect.signature(loss.forward).parameters for _, _, loss in terms)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of logits against targets in [0, 1] or NaN, both ``[B, K, H, W]``.

        Raises:
            TrainingError: if the shapes differ.
        """
        logits, target = prepare(logits, target)
        valid = ~target.isnan()
        # torch.where, unlike a product with 0, also stops gradients that are not finite; and nothing here waits for
        # the device, as asking whether any pixel is ignored would.
        target = torch.where(valid, target, 0.0)
        logits = torch.where(valid, logits, IGNORED_LOGIT)
        with torch.autocast(logits.device.type, enabled=False):
            total = logits.new_zeros(())
            for weight, loss, takes_valid in zip(self.weights, self.losses, self.takes_valid, strict=True):
                value = loss(logits, target, valid=valid) if takes_valid else loss(logits, target)
                total = total + weight * value
        return total
