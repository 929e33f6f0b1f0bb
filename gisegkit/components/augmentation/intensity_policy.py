"""The policy ``intensity``: the batch transform of that name, slice by slice in the loader's processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from gisegkit.components.augmentation.intensity_draws import IntensityDraws, IntensitySettings
from gisegkit.components.batch_transforms.intensity import change

if TYPE_CHECKING:
    from gisegkit.types import FloatArray, MaskArray


@dataclass(kw_only=True)
class IntensityPolicy(IntensitySettings):
    """Bias field, blur, noise, contrast and gamma, as the batch transform ``intensity``, without any warp.

    A recipe that also warps uses a geometric policy here and the batch transform ``intensity``, on a CPU too.

    Args:
        size: height and width of the samples in pixels.

    Attributes:
        record: whether ``drawn`` is filled; ``giseg show`` sets it.
        drawn: what the last call did, a line for each step that was applied.
    """

    size: tuple[int, int]
    record = False
    drawn: Sequence[str] = field(init=False, default=())

    def __call__(self, image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """What the batch transform makes of a batch of this slice and this generator."""
        draws = IntensityDraws(self, 1, rng)
        if self.record:
            self.drawn = draws.words()[0]
        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        changed: FloatArray = change(planes, draws, torch.from_numpy)[0].numpy().transpose(1, 2, 0)
        return np.ascontiguousarray(changed), np.ascontiguousarray(mask)
