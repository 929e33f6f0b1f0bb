"""Batch transforms: what is done to a training batch on the device, between loading and the forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from gisegkit.types import Above, Batch, Between

if TYPE_CHECKING:
    import numpy as np


@dataclass(kw_only=True)
class Mixup:
    """Mixup: images are blended in pairs, and the losses against both targets with the same weights.

    One blending weight lam is drawn a batch from Beta(alpha, alpha). Every (weight, target) of the batch becomes
    (weight * lam, target) and (weight * (1 - lam), target of the partner): the losses are mixed, not the masks, which
    is the same for binary cross-entropy but not for Dice by image or by micro-batch. A batch of one image stays as it
    is.

    Args:
        alpha: shape of the Beta distribution: near 0 most batches stay almost unmixed, 1 is uniform.
        p: probability that a batch is mixed.

    Paper: Zhang et al., mixup: beyond empirical risk minimization, arXiv:1710.09412

    Attributes:
        record, drawn: whether to say what is drawn, and what the last call drew; for ``giseg show``.
    """

    alpha: Annotated[float, Above(0)] = 0.2
    p: Annotated[float, Between(0, 1)] = 1.0
    record = False
    drawn: Sequence[str] = field(init=False, default=())

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The mixed batch; the batch that is handed in keeps its tensors as they were.

        Args:
            batch: images ``[B, C, H, W]`` with any number of weighted targets ``[B, K, H, W]``.
            rng: the batch's own generator; every draw comes from it.

        Returns:
            A batch with twice as many weighted targets, whose weights have the same sum.
        """
        self.drawn = ()
        count = len(batch.images)
        if count < 2 or rng.random() >= self.p:
            return batch
        lam = float(rng.beta(self.alpha, self.alpha))
        order = rng.permutation(count)
        if self.record:
            self.drawn = [f"lambda {lam:.4g}; partners of slices 1 to {count}: {' '.join(map(str, order + 1))}"]
        partner = batch.send(order)
        targets = [
            pair
            for weight, target in batch.targets
            for pair in ((weight * lam, target), (weight * (1 - lam), target[partner]))
        ]
        images = lam * batch.images + (1 - lam) * batch.images[partner]
        return dataclasses.replace(batch, images=images, targets=tuple(targets))
