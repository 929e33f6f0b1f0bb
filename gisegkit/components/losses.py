"""Built-in losses; criterion.py sums them.

Each loss maps logits and targets in [0, 1], both ``[B, K, H, W]``, to a scalar, computed in float32 (float64 for
float64 logits) whatever the precision of the network. Soft targets are welcome.
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
        if valid is None:
            return functional.binary_cross_entropy_with_logits(logits, target)
        values = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return torch.where(valid, values, 0.0).sum() / valid.sum().clamp_min(1)


class DiceLoss(nn.Module):
    """Soft Dice loss: 1 - (2 TP + 2 smooth) / (|P| + |T| + 2 smooth), a mean over classes.

    The Tversky loss with alpha = beta = 0.5. Where a class is empty and nothing is predicted the loss is 0; pixels
    predicted of an empty class cost up to 1, with a gradient wherever smooth is above 0.

    Args:
        over: which pixels go into one ratio: each image's, or the whole batch's (of micro_batch images). By image, the
            ratios of all classes and images are averaged, by batch those of all classes.
        smooth: pixels added to numerator and denominator; the larger, the less a small or empty class weighs.

    Paper: Milletari et al., V-Net, arXiv:1606.04797 (there with squares in the denominator)
    """

    def __init__(
        self, *, over: Literal["image", "batch"] = "batch", smooth: Annotated[float, AtLeast(0)] = 1.0
    ) -> None:
        super().__init__()
        self.over = over
        self.smooth = smooth

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return _tversky(logits, target, alpha=0.5, beta=0.5, over=self.over, smooth=self.smooth)


class Tversky(nn.Module):
    """Tversky loss: 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth), a mean over classes.

    For class imbalance. Where a class is empty and nothing is predicted the loss is 0; pixels predicted of an empty
    class cost up to 1, with a gradient wherever alpha and smooth are above 0.

    Args:
        alpha: weight of false positives (predicted, not in the truth).
        beta: weight of false negatives (missed); above alpha it favours recall. alpha = beta = 0.5 is Dice.
        over: which pixels go into one ratio: each image's, or the whole batch's (of micro_batch images). By image, the
            ratios of all classes and images are averaged, by batch those of all classes.
        smooth: pixels added to numerator and denominator; the larger, the less a small or empty class weighs.

    Paper: Salehi et al., Tversky loss function for image segmentation, arXiv:1706.05721
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, AtLeast(0)] = 0.5,
        beta: Annotated[float, AtLeast(0)] = 0.5,
        over: Literal["image", "batch"] = "batch",
        smooth: Annotated[float, AtLeast(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.over = over
        self.smooth = smooth

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return _tversky(logits, target, alpha=self.alpha, beta=self.beta, over=self.over, smooth=self.smooth)


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


def _tversky(
    logits: torch.Tensor, target: torch.Tensor, *, alpha: float, beta: float, over: str, smooth: float
) -> torch.Tensor:
    logits, target = prepare(logits, target)
    probability = logits.sigmoid()
    pixels = (2, 3) if over == "image" else (0, 2, 3)
    true_positive = (probability * target).sum(pixels)  # [B, K] or [K]
    false_positive = (probability * (1 - target)).sum(pixels)
    false_negative = ((1 - probability) * target).sum(pixels)
    smooth = max(smooth, 1e-7)  # so that a class that is empty and not predicted costs 0, not 0 / 0
    index = (true_positive + smooth) / (true_positive + alpha * false_positive + beta * false_negative + smooth)
    return 1 - index.mean()
