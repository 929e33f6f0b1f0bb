"""The losses of the deck and what all losses share: bce, dice, jaccard, tversky; criterion.py sums them.

Each loss maps logits and targets in [0, 1], both ``[B, K, H, W]``, to a scalar, computed in float32 (float64 for
float64 logits) whatever the precision of the network. Soft targets are welcome. ``valid`` (``[B, K, H, W]`` bool) says
which pixels count; the criterion hands over the others as logit -1e4 and target 0. docs/losses.md compares all losses.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import nn
from torch.nn import functional

from gisegkit.errors import TrainingError
from gisegkit.types import AtLeast


class BCE(nn.Module):
    """Binary cross-entropy on sigmoid outputs, averaged over every pixel, class and image.

    Right for overlapping classes. An empty class counts like any other: each of its pixels should be 0.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the pixels that are valid (``[B, K, H, W]`` bool), 0 where none is."""
        logits, target = prepare(logits, target)
        return average(functional.binary_cross_entropy_with_logits(logits, target, reduction="none"), valid)


class Tversky(nn.Module):
    """Tversky loss: 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth), a mean over classes.

    For class imbalance. TP, FP and FN are sums of probabilities: p t, p (1 - t) and (1 - p) t.

    Args:
        alpha: weight of false positives (predicted, not in the truth).
        beta: weight of false negatives (missed); above alpha it favors recall. alpha = beta = 0.5 is Dice.
        ratio_over: which pixels go into one ratio: each image's, or all of the batch (of micro_batch images). By image,
            the ratios of all classes and images are averaged, by batch those of all classes.
        smooth: pixels added to numerator and denominator; the larger, the less a small or empty class weighs.
        empty: what a ratio costs whose class is empty: its false positives up to 1 (penalize), nothing (skip, as in
            segmentation-models-pytorch), or their mean probability over the ratio's pixels (mean_probability).

    Paper: Salehi et al., Tversky loss function for image segmentation, arXiv:1706.05721
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, AtLeast(0)] = 0.5,
        beta: Annotated[float, AtLeast(0)] = 0.5,
        ratio_over: Literal["image", "batch"] = "batch",
        smooth: Annotated[float, AtLeast(0)] = 1.0,
        empty: Literal["penalize", "skip", "mean_probability"] = "mean_probability",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.ratio_over = ratio_over
        self.smooth = smooth
        self.empty = empty

    def forward(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the ratios that have a valid pixel (``[B, K, H, W]`` bool), 0 where none has."""
        return average(*self.ratios(logits, target, valid))

    def ratios(
        self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """1 - index of every ratio, and whether it counts, both ``[B, K]`` or over the batch ``[K]``."""
        logits, target = prepare(logits, target)
        pixels = (2, 3) if self.ratio_over == "image" else (0, 2, 3)
        size = (torch.ones_like(logits, dtype=torch.bool) if valid is None else valid).sum(pixels)
        probability = logits.sigmoid()
        true_positive = (probability * target).sum(pixels)  # [B, K] or [K]
        false_positive = (probability * (1 - target)).sum(pixels)
        false_negative = ((1 - probability) * target).sum(pixels)
        smooth = max(self.smooth, 1e-7)  # so that a class that is empty and not predicted costs 0, not 0 / 0
        wrong = self.alpha * false_positive + self.beta * false_negative
        # The same as 1 - index, but never below 0, and exact where the index is nearly 1.
        values = wrong / (true_positive + wrong + smooth)
        values = where_empty(self.empty, target.sum(pixels) == 0, values, false_positive / size.clamp_min(1))
        return values, size > 0


class DiceLoss(Tversky):
    """Soft Dice loss: 1 - (2 TP + 2 smooth) / (|P| + |T| + 2 smooth), a mean over classes.

    The Tversky loss with alpha = beta = 0.5.

    Args:
        ratio_over: which pixels go into one ratio: each image's, or all of the batch (of micro_batch images). By image,
            the ratios of all classes and images are averaged, by batch those of all classes.
        smooth: pixels added to truth and prediction alike; the larger, the less a small or empty class weighs.
        empty: what a ratio costs whose class is empty: its false positives up to 1 (penalize), nothing (skip, as in
            segmentation-models-pytorch), or their mean probability over the ratio's pixels (mean_probability).

    Paper: Milletari et al., V-Net, arXiv:1606.04797 (there with squares in the denominator)
    """

    def __init__(
        self,
        *,
        ratio_over: Literal["image", "batch"] = "batch",
        smooth: Annotated[float, AtLeast(0)] = 1.0,
        empty: Literal["penalize", "skip", "mean_probability"] = "mean_probability",
    ) -> None:
        super().__init__(alpha=0.5, beta=0.5, ratio_over=ratio_over, smooth=smooth, empty=empty)


class Jaccard(Tversky):
    """Soft Jaccard loss: 1 - (TP + smooth) / (|P| + |T| - TP + smooth), a mean over classes.

    Intersection over union; the Tversky loss with alpha = beta = 1.

    Args:
        ratio_over: which pixels go into one ratio: each image's, or all of the batch (of micro_batch images). By image,
            the ratios of all classes and images are averaged, by batch those of all classes.
        smooth: pixels added to intersection and union; the larger, the less a small or empty class weighs.
        empty: what a ratio costs whose class is empty: its false positives up to 1 (penalize), nothing (skip, as in
            segmentation-models-pytorch), or their mean probability over the ratio's pixels (mean_probability).

    Paper: Rahman and Wang, Optimizing intersection-over-union in deep neural networks for image segmentation, ISVC 2016
    """

    def __init__(
        self,
        *,
        ratio_over: Literal["image", "batch"] = "batch",
        smooth: Annotated[float, AtLeast(0)] = 1.0,
        empty: Literal["penalize", "skip", "mean_probability"] = "mean_probability",
    ) -> None:
        super().__init__(alpha=1.0, beta=1.0, ratio_over=ratio_over, smooth=smooth, empty=empty)


# --- what the losses share ------------------------------------------------------------------------------------------


def prepare(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in float32 (float64 where the logits are), after a check that they fit; every loss begins with it.

    Raises:
        TrainingError: if the shapes are not both the same ``[B, K, H, W]``.
    """
    if logits.shape != target.shape or logits.ndim != 4:
        raise TrainingError(
            f"the network gives logits {list(logits.shape)} for targets {list(target.shape)}; "
            "both must be the same [B, K, H, W]"
        )
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits, target.to(logits.dtype)


def average(values: torch.Tensor, counts: torch.Tensor | None) -> torch.Tensor:
    """The mean of the values that count (bool, of the same shape; None is all), 0 where none does."""
    if counts is None:
        return values.mean()
    return torch.where(counts, values, 0.0).sum() / counts.sum().clamp_min(1)


def where_empty(choice: str, empty: torch.Tensor, values: torch.Tensor, mean_probability: torch.Tensor) -> torch.Tensor:
    """The values of all ratios, with the recipe's choice for those whose class is empty (bool, of the same shape)."""
    if choice == "penalize":
        return values
    return torch.where(empty, mean_probability if choice == "mean_probability" else 0.0, values)
