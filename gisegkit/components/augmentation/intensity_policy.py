"""The policy ``intensity``: the batch transform of that name, slice by slice in the loader's processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch

from gisegkit.components.augmentation.intensity_draws import IntensityDraws, IntensitySettings
from gisegkit.components.batch_transforms.intensity import change
from gisegkit.types import AtLeast, Between

if TYPE_CHECKING:
    from gisegkit.types import FloatArray, MaskArray


class IntensityPolicy:
    """Bias field, blur, noise, contrast and gamma, as the batch transform ``intensity``, without any warp.

    A recipe that also warps uses a geometric policy here and the batch transform ``intensity``, on a CPU too.

    Args:
        size: height and width of the samples in pixels.
        bias_p: probability of a bias field.
        bias_limit: by which share the field darkens the darkest place at most.
        blur_p: probability of a Gaussian blur.
        blur_limit: its largest standard deviation in pixels.
        noise_p: probability of Gaussian noise.
        noise_limit: its largest standard deviation as a share of the range.
        rician_p: probability of Rician noise, which magnitude images of MR have.
        rician_limit: the largest standard deviation of either part as a share of the range.
        contrast_p: probability of another contrast.
        contrast_limit: the factor is between 1 / (1 + limit) and 1 + limit.
        gamma_p: probability of a gamma curve.
        gamma_limit: the exponent is between 1 / (1 + limit) and 1 + limit.

    Attributes:
        record: whether ``drawn`` is filled; ``giseg show`` sets it.
        drawn: what the last call did, a line for each step that was applied.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int],
        bias_p: Annotated[float, Between(0, 1)] = 0.15,
        bias_limit: Annotated[float, Between(0, 0.95)] = 0.4,
        blur_p: Annotated[float, Between(0, 1)] = 0.15,
        blur_limit: Annotated[float, Between(0, 10)] = 1.0,
        noise_p: Annotated[float, Between(0, 1)] = 0.15,
        noise_limit: Annotated[float, Between(0, 1)] = 0.05,
        rician_p: Annotated[float, Between(0, 1)] = 0.0,
        rician_limit: Annotated[float, Between(0, 1)] = 0.05,
        contrast_p: Annotated[float, Between(0, 1)] = 0.15,
        contrast_limit: Annotated[float, AtLeast(0)] = 0.4,
        gamma_p: Annotated[float, Between(0, 1)] = 0.3,
        gamma_limit: Annotated[float, AtLeast(0)] = 0.4,
    ) -> None:
        self.settings = IntensitySettings(
            bias_p=bias_p,
            bias_limit=bias_limit,
            blur_p=blur_p,
            blur_limit=blur_limit,
            noise_p=noise_p,
            noise_limit=noise_limit,
            rician_p=rician_p,
            rician_limit=rician_limit,
            contrast_p=contrast_p,
            contrast_limit=contrast_limit,
            gamma_p=gamma_p,
            gamma_limit=gamma_limit,
        )
        self.record = False
        self.drawn: list[str] = []

    def __call__(self, image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """What the batch transform makes of a batch of this slice and this generator."""
        draws = IntensityDraws(self.settings, 1, rng)
        if self.record:
            self.drawn = draws.words()[0]
        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        changed: FloatArray = change(planes, draws, torch.from_numpy)[0].numpy().transpose(1, 2, 0)
        return np.ascontiguousarray(changed), np.ascontiguousarray(mask)
