"""Losses that count what is still wrong more than what is nearly right: focal by pixel, focal_tversky by class."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import nn
from torch.nn import functional

from gisegkit.components.losses.ratios import Tversky, average, prepare
from gisegkit.types import Above, AtLeast, Between


class Focal(nn.Module):
    """Focal loss: (1 - p)^gamma (-log p) where the truth is 1, p^gamma (-log(1 - p)) where it is 0, a mean of pixels.

    Binary cross-entropy in which pixels that are nearly right hardly count, so that the many easy ones of the
    background do not drown the rest. A soft target t weighs the two halves with t and 1 - t. An empty class counts like
    any other. The mean is over every pixel, class and image; the paper divides by the number of objects.

    Args:
        gamma: how much less easy pixels count; 0 is binary cross-entropy.
        alpha: weight of pixels in a class, 1 - alpha being that of the others; left out, both have weight 1.

    Paper: Lin et al., Focal loss for dense object detection, arXiv:1708.02002
    """

    def __init__(
        self, *, gamma: Annotated[float, AtLeast(0)] = 2.0, alpha: Annotated[float, Between(0, 1)] | None = None
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.weights = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)

    def forward(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the pixels that are valid (``[B, K, H, W]`` bool), 0 where none is."""
        logits, target = prepare(logits, target)
        log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)  # q = 1 - p
        inside = self.weights[0] * target * (self.gamma * log_q).exp() * log_p
        outside = self.weights[1] * (1 - target) * (self.gamma * log_p).exp() * log_q
        return average(-(inside + outside), valid)


class FocalTversky(Tversky):
    """Focal Tversky loss: (1 - Tversky index)^(1 / gamma) of every class, a mean over classes.

    The exponent is 1 / gamma, as in the paper; other code often calls the exponent itself gamma (0.75 there is 4/3
    here). Above gamma 1 a class that is nearly right has a larger gradient than in the Tversky loss. The paper's
    alpha weighs false negatives, the one here false positives, as in the Tversky loss; the defaults are the paper's.

    Args:
        gamma: 1 / gamma is the exponent; 1 is the Tversky loss, the paper recommends 4/3.
        alpha: weight of false positives (predicted, not in the truth).
        beta: weight of false negatives (missed); above alpha it favors recall.
        ratio_over: which pixels go into one ratio: each image's, or all of the batch (of micro_batch images). By image,
            the ratios of all classes and images are averaged, by batch those of all classes.
        smooth: pixels added to numerator and denominator; the larger, the less a small or empty class weighs.
        empty: what stands for 1 - index where a ratio's class is empty: false positives up to 1 (penalize), nothing
            (skip), or their mean probability over the ratio's pixels (mean_probability).

    Paper: Abraham and Khan, A novel focal Tversky loss function with improved attention U-Net for lesion segmentation,
        arXiv:1810.07842
    """

    LINEAR_BELOW = 1e-6
    """1 - index below which the power is replaced by a line to 0: the power's slope at 0 is infinite."""

    def __init__(
        self,
        *,
        gamma: Annotated[float, Above(0)] = 1.3333333333333333,
        alpha: Annotated[float, AtLeast(0)] = 0.3,
        beta: Annotated[float, AtLeast(0)] = 0.7,
        ratio_over: Literal["image", "batch"] = "batch",
        smooth: Annotated[float, AtLeast(0)] = 1.0,
        empty: Literal["penalize", "skip", "mean_probability"] = "mean_probability",
    ) -> None:
        super().__init__(alpha=alpha, beta=beta, ratio_over=ratio_over, smooth=smooth, empty=empty)
        self.exponent = 1 / gamma

    def forward(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the ratios that have a valid pixel (``[B, K, H, W]`` bool), 0 where none has."""
        values, counts = self.ratios(logits, target, valid)
        low = self.LINEAR_BELOW
        power = values.clamp_min(low) ** self.exponent
        return average(torch.where(values > low, power, values * low ** (self.exponent - 1)), counts)
