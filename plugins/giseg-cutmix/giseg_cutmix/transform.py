"""CutMix for segmentation: a rectangle of another image is pasted together with its masks."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

from gisegkit import Above, Batch, Between

if TYPE_CHECKING:
    import numpy as np
    import torch


class CutMix:
    """CutMix: one rectangle a batch is pasted from each image's partner, masks and ignored pixels with it.

    The rectangle has the share 1 - lam of the image's area, lam drawn from Beta(alpha, alpha), and a center drawn
    uniformly; what lies beyond the border is cut off, as in the paper. Images and masks stay aligned to the pixel, so
    every (weight, target) of the batch stays one pair. A batch of one image stays as it is.

    Args:
        alpha: shape of the Beta distribution: 1 is uniform, near 0 rectangles are almost nothing or everything.
        p: probability that a batch is changed.

    Paper: Yun et al., CutMix: regularization strategy to train strong classifiers with localizable features,
        arXiv:1905.04899

    Attributes:
        record, drawn: whether to say what is drawn, and what the last call drew; for ``giseg show``.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Above(0)] = 1.0,
        p: Annotated[float, Between(0, 1)] = 1.0,
    ) -> None:
        self.alpha = alpha
        self.p = p
        self.record = False
        self.drawn: list[str] = []

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with its rectangle; the batch that is handed in keeps its tensors as they were.

        Args:
            batch: images ``[B, C, H, W]`` with any number of weighted targets ``[B, K, H, W]``.
            rng: the batch's own generator; every draw comes from it.

        Returns:
            A batch of the same shapes and weights.
        """
        self.drawn = []
        count, _, height, width = batch.images.shape
        if count < 2 or rng.random() >= self.p:
            return batch
        lam = float(rng.beta(self.alpha, self.alpha))
        side = math.sqrt(1 - lam)
        rows = _span(height, side, rng)
        columns = _span(width, side, rng)
        order = rng.permutation(count)
        if self.record:
            box = f"rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}"
            partners = " ".join(map(str, order + 1))
            self.drawn = [f"lambda {lam:.4g}; {box}; partners of slices 1 to {count}: {partners}"]
        partner = batch.send(order)

        def paste(tensor: torch.Tensor) -> torch.Tensor:
            pasted = tensor.clone()
            pasted[..., rows, columns] = tensor[..., rows, columns][partner]
            return pasted

        targets = tuple((weight, paste(target)) for weight, target in batch.targets)
        return dataclasses.replace(batch, images=paste(batch.images), targets=targets)


def _span(length: int, side: float, rng: np.random.Generator) -> slice:
    """The pixels of a span around a random center, as long as the share ``side`` of ``length``, inside the image."""
    extent = round(length * side)
    start = int(rng.integers(length)) - extent // 2
    return slice(max(0, start), min(length, start + extent))
