"""The weighted sum of losses that training minimizes."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn

from gisegkit.components.losses.ratios import prepare
from gisegkit.errors import ComponentError

IGNORED_LOGIT = -1e4
"""Probability 0 in every precision, and still finite in float16."""


class Criterion(nn.Module):
    """The weighted sum of losses, without the pixels whose target is NaN.

    A loss whose ``forward`` has a parameter ``valid`` is handed ``[B, K, H, W]`` bool and must leave the other pixels
    out itself; every loss sees them as predicted 0 and labelled 0, and no gradient comes from them.

    Args:
        terms: name, weight and loss of each term.
        epochs: the first and the last epoch (0: of the run) that each term counts in; default all of them.

    Attributes:
        names: of the T terms, each unique: the second ``dice`` is ``dice_2``.
        epoch: the epoch that is trained, numbered from 1; set by the engine.

    Raises:
        ComponentError: if there is no term.
    """

    def __init__(
        self, terms: Sequence[tuple[str, float, nn.Module]], *, epochs: Sequence[tuple[int, int]] | None = None
    ) -> None:
        super().__init__()
        if not terms:
            raise ComponentError("training needs at least one loss; add a [[loss]] to the recipe")
        self.names = _unique([name for name, _, _ in terms])
        self.weights = tuple(float(weight) for _, weight, _ in terms)
        self.losses = nn.ModuleList(loss for _, _, loss in terms)
        self.takes_valid = tuple("valid" in inspect.signature(loss.forward).parameters for _, _, loss in terms)
        self.epochs = tuple(epochs or [(1, 0)] * len(terms))
        self.epoch = 1

    @property
    def active(self) -> tuple[bool, ...]:
        """Which terms count in this epoch."""
        return tuple(first <= self.epoch and (self.epoch <= last or not last) for first, last in self.epochs)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of logits against targets in [0, 1] or NaN, both ``[B, K, H, W]``.

        Raises:
            TrainingError: if the shapes differ.
        """
        return self.total(self.terms(logits, target))

    def terms(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The value of each term, ``[T]``, not yet weighted; 0 for one that does not count in this epoch.

        Raises:
            TrainingError: if the shapes differ.
        """
        logits, target = prepare(logits, target)
        valid = ~target.isnan()
        # torch.where, unlike a product with 0, also stops gradients that are not finite; and nothing here waits for
        # the device, as asking whether any pixel is ignored would.
        target = torch.where(valid, target, 0.0)
        logits = torch.where(valid, logits, IGNORED_LOGIT)
        values = []
        with torch.autocast(logits.device.type, enabled=False):
            for loss, takes_valid, active in zip(self.losses, self.takes_valid, self.active, strict=True):
                if not active:
                    values.append(logits.new_zeros(()))
                else:
                    values.append(loss(logits, target, valid=valid) if takes_valid else loss(logits, target))
        return torch.stack(values)

    def total(self, terms: torch.Tensor) -> torch.Tensor:
        """The weighted sum of ``terms``, a scalar."""
        return sum((weight * value for weight, value in zip(self.weights, terms, strict=True)), terms.new_zeros(()))


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(unique)
