"""What an intensity augmentation draws: bias field, blur, noise, contrast and gamma of each slice.

The CPU policy and the batch transform draw here, with numpy and from the generator that is handed in: so they mean the
same, and the device changes no draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from gisegkit.types import AtLeast, Between

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, FloatArray

STEPS = ("bias", "blur", "noise", "rician", "contrast", "gamma")
"""The steps in the order in which they are applied: what happens while an image is made, then what a display does."""

POWERS = tuple((i, j) for i in range(4) for j in range(4) if 1 <= i + j <= 3)
"""Powers of row and column in the bias field's polynomial of the third order; a constant would do nothing."""

WIDEST = 3.0
"""Standard deviations after which the kernel of the blur ends."""


@dataclass(kw_only=True)
class IntensitySettings:
    """Probabilities and limits of the steps: the parameters of the policy and of the batch transform.

    Args:
        bias_p: probability of a bias field, a smooth factor over the image as MR coils cause it: the exponential of a
            polynomial of the third order.
        bias_limit: by which share the field darkens the darkest place at most; the brightest place keeps its value.
        blur_p: probability of a Gaussian blur; the border is reflected.
        blur_limit: its largest standard deviation in pixels.
        noise_p: probability of Gaussian noise.
        noise_limit: its largest standard deviation as a share of the range.
        rician_p: probability of Rician noise, which magnitude images of MR have: the magnitude of a complex signal with
            Gaussian noise in both parts, so that dark places become brighter. Not meant for CT or photographs.
        rician_limit: the largest standard deviation of either part as a share of the range.
        contrast_p: probability of another contrast: distances from the slice's mean are multiplied.
        contrast_limit: the factor is between 1 / (1 + limit) and 1 + limit.
        gamma_p: probability of a gamma curve.
        gamma_limit: the exponent is between 1 / (1 + limit) and 1 + limit.
    """

    bias_p: Annotated[float, Between(0, 1)] = 0.15
    bias_limit: Annotated[float, Between(0, 0.95)] = 0.4
    blur_p: Annotated[float, Between(0, 1)] = 0.15
    blur_limit: Annotated[float, Between(0, 10)] = 1.0
    noise_p: Annotated[float, Between(0, 1)] = 0.15
    noise_limit: Annotated[float, Between(0, 1)] = 0.05
    rician_p: Annotated[float, Between(0, 1)] = 0.0
    rician_limit: Annotated[float, Between(0, 1)] = 0.05
    contrast_p: Annotated[float, Between(0, 1)] = 0.15
    contrast_limit: Annotated[float, AtLeast(0)] = 0.4
    gamma_p: Annotated[float, Between(0, 1)] = 0.3
    gamma_limit: Annotated[float, AtLeast(0)] = 0.4


class IntensityDraws:
    """The draws of B slices.

    Attributes:
        active: by step, ``[B]`` bool: which slices get it.
        darkest: ``[B]``, what the bias field leaves of a value at its darkest place; 1 is all.
        field: ``[B, P]``, coefficients of the field's polynomial.
        blur: ``[B]``, standard deviations in pixels.
        noise, rician: ``[B]``, standard deviations as a share of the range.
        contrast, gamma: ``[B]``, factor and exponent.
    """

    def __init__(self, settings: IntensitySettings, count: int, rng: np.random.Generator) -> None:
        """Draw.

        Args:
            settings: of the steps.
            count: B.
            rng: every draw comes from it.
        """
        self.rng = rng
        chance = rng.random((count, len(STEPS)))  # a row a slice
        strength = rng.random((count, len(STEPS)))
        self.field = 2 * rng.random((count, len(POWERS))) - 1
        limits = {name: float(getattr(settings, f"{name}_limit")) for name in STEPS}
        self.active = {
            name: (chance[:, number] < getattr(settings, f"{name}_p")) & (limits[name] > 0)
            for number, name in enumerate(STEPS)
        }
        share = dict(zip(STEPS, strength.T, strict=True))
        self.darkest = np.exp(share["bias"] * math.log1p(-limits["bias"]))
        self.blur, self.noise, self.rician = (share[name] * limits[name] for name in ("blur", "noise", "rician"))
        self.contrast, self.gamma = (
            np.exp((2 * share[name] - 1) * math.log1p(limits[name])) for name in ("contrast", "gamma")
        )

    def chosen(self, step: str) -> AnyArray:
        """``[M]`` int, the slices that get a step."""
        return np.flatnonzero(self.active[step])

    def fields(self, size: tuple[int, int]) -> FloatArray:
        """``[M, H, W]`` float32: the bias fields of the slices that get one, from ``darkest`` to 1."""
        rows = self.chosen("bias")
        y, x = (np.linspace(-1, 1, side) for side in size)
        basis = np.stack([np.outer(y**i, x**j) for i, j in POWERS])  # [P, H, W]
        polynomial = np.einsum("mp,phw->mhw", self.field[rows], basis)
        low, high = (extreme(polynomial, axis=(1, 2), keepdims=True) for extreme in (np.min, np.max))
        depth = (high - polynomial) / np.maximum(high - low, 1e-12)  # 0 at the brightest place, 1 at the darkest
        fields: FloatArray = np.exp(depth * np.log(self.darkest[rows])[:, None, None]).astype(np.float32)
        return fields

    def kernels(self, size: tuple[int, int]) -> FloatArray:
        """``[M, N]`` float32: the Gaussian kernels of the slices that are blurred, N odd, each with the sum 1."""
        sigma = self.blur[self.chosen("blur")][:, None]
        radius = min(math.ceil(WIDEST * float(sigma.max(initial=0))), min(size) - 1)
        offsets = np.arange(-radius, radius + 1)
        kernels = np.exp(-0.5 * (offsets / np.maximum(sigma, 1e-3)) ** 2)
        whole: FloatArray = (kernels / kernels.sum(axis=1, keepdims=True)).astype(np.float32)
        return whole

    def normals(self, step: str, channels: int, size: tuple[int, int]) -> FloatArray:
        """Noise of the slices that get the step, float32, each pixel and channel by itself.

        ``[M, 1, C, H, W]`` for ``noise``; for ``rician`` ``[M, 2, C, H, W]``, of the two parts of a complex signal.
        Drawn now, so that steps are asked in their order.
        """
        rows, parts = self.chosen(step), 2 if step == "rician" else 1
        sigma = getattr(self, step)[rows].astype(np.float32)[:, None, None, None, None]
        drawn: FloatArray = self.rng.standard_normal((len(rows), parts, channels, *size), dtype=np.float32) * sigma
        return drawn

    def words(self) -> list[list[str]]:
        """For each slice its steps and their numbers, in the order in which they are applied."""
        texts = {
            "bias": ("bias field: darkest place {:.3g}", self.darkest),
            "blur": ("blur: sigma {:.3g} px", self.blur),
            "noise": ("Gaussian noise: deviation {:.3g} of the range", self.noise),
            "rician": ("Rician noise: deviation {:.3g} of the range", self.rician),
            "contrast": ("contrast: factor {:.3g}", self.contrast),
            "gamma": ("gamma: exponent {:.3g}", self.gamma),
        }
        return [
            [text.format(values[index]) for name, (text, values) in texts.items() if self.active[name][index]]
            for index in range(len(self.field))
        ]
