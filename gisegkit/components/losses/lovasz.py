"""The Lovász hinge, which follows the Jaccard index of the thresholded mask."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from gisegkit.components.losses.ratios import average, prepare, where_empty


class Lovasz(nn.Module):
    """Lovász hinge: the convex extension of the Jaccard loss of the mask, at the hinge errors of its pixels.

    A pixel's error is max(0, 1 - logit) in the class and max(0, 1 + logit) outside, so pixels that are right by a logit
    of 1 have neither loss nor gradient; better after training with cross-entropy, or combined with it. A soft target
    counts as 1 from 0.5 on: the loss is defined for sets. There is no smoothing.

    Args:
        ratio_over: which pixels make one set: each image's, or the whole batch's (of micro_batch images). By image, the
            losses of all classes and images are averaged, by batch those of all classes.
        empty: what a set costs whose class is empty: the error of its worst pixel (penalize, the exact loss), nothing
            (skip), or the mean probability over its pixels (mean_probability).

    Paper: Berman et al., The Lovász-softmax loss, arXiv:1705.08790
    """

    def __init__(
        self,
        *,
        ratio_over: Literal["image", "batch"] = "batch",
        empty: Literal["penalize", "skip", "mean_probability"] = "penalize",
    ) -> None:
        super().__init__()
        self.ratio_over = ratio_over
        self.empty = empty

    def forward(self, logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the sets that have a valid pixel (``[B, K, H, W]`` bool), 0 where none has."""
        logits, target = prepare(logits, target)
        counts = torch.ones_like(logits, dtype=torch.bool) if valid is None else valid
        logits, truth, counts = (self._sets(tensor) for tensor in (logits, target >= 0.5, counts))
        errors = 1 - torch.where(truth, logits, -logits)
        descending, order = errors.sort(dim=-1, descending=True)
        steps = jaccard_steps(truth.gather(-1, order), descending.dtype)
        values = (descending.relu() * steps).sum(-1)
        size = counts.sum(-1)
        mean_probability = logits.sigmoid().sum(-1) / size.clamp_min(1)
        return average(where_empty(self.empty, ~truth.any(-1), values, mean_probability), size > 0)

    def _sets(self, tensor: torch.Tensor) -> torch.Tensor:
        """``[B, K, H, W]`` to ``[B, K, H * W]``, or over the batch ``[K, B * H * W]``."""
        return tensor.flatten(2) if self.ratio_over == "image" else tensor.transpose(0, 1).flatten(1)


def jaccard_steps(truth: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """By how much the Jaccard loss of a set grows when its pixels become wrong one after another.

    Each step is computed by itself: as differences of the loss, which ends near 1, steps of millions of pixels would
    drown in float32's rounding.

    Args:
        truth: bool ``[..., P]``, whether each pixel belongs to the set, in the order in which they become wrong.

    Returns:
        ``[..., P]``, 0 or more, with the sum 1.
    """
    size = truth.sum(-1, keepdim=True)
    missed = truth.cumsum(-1, dtype=torch.int32)
    rank = torch.arange(1, truth.shape[-1] + 1, device=truth.device, dtype=torch.int32)
    intersection = (size - missed).to(dtype)
    union = (size + rank - missed).to(dtype)
    # A missed pixel takes one from the intersection, I/U to (I - 1)/U; a false one adds one to the union.
    steps = torch.where(truth, 1 / union, intersection / (union * (union - 1)).clamp_min(1))
    # The first false pixel takes the loss of an empty set from 0 (both empty) to 1 at once.
    return torch.where((size == 0) & (rank == 1), 1.0, steps)
