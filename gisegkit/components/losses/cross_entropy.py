"""Softmax cross-entropy, for sets whose classes exclude one another."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from gisegkit.components.losses.ratios import average, prepare


class CrossEntropy(nn.Module):
    """Softmax cross-entropy over the classes and the background, averaged over every pixel and image.

    For data whose classes exclude one another. The network has no channel for the background: its logit is 0, and its
    target is what the classes leave of 1. A pixel in which any class is ignored does not count. Soft targets are
    welcome; where they add up to more than 1, they are divided by their sum. An empty class costs what its probability
    takes from the right one, pixel by pixel.

    Attributes:
        exclusive_only: a loss that says True is refused on data whose classes may overlap (``Dataset.exclusive``).
        activation: how probabilities come from logits: ``"softmax"`` over the K logits and a background of 0. Losses
            without this attribute mean ``"sigmoid"``.
    """

    exclusive_only: ClassVar[bool] = True
    activation: ClassVar[str] = "softmax"

    def forward(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the pixels that are valid (``[B, K, H, W]`` bool) in all classes, 0 where none is."""
        logits, target = prepare(logits, target)
        target = target / target.sum(1, keepdim=True).clamp_min(1)
        background = 1 - target.sum(1, keepdim=True)  # [B, 1, H, W]
        values = functional.cross_entropy(
            torch.cat([torch.zeros_like(background), logits], dim=1),
            torch.cat([background, target], dim=1),
            reduction="none",
        )  # [B, H, W]
        return average(values, None if valid is None else valid.all(1))
