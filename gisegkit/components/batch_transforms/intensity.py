"""The batch transform ``intensity``: what differs between scanners and exposures, on whatever device the batch is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from gisegkit.components.augmentation.intensity_draws import IntensityDraws, IntensitySettings
from gisegkit.types import Batch

if TYPE_CHECKING:
    import numpy as np

    from gisegkit.types import AnyArray

Send = Callable[["AnyArray"], torch.Tensor]


class Intensity(IntensitySettings):
    """Bias field, blur, noise, contrast and gamma; each slice of the batch has its own draws, masks stay.

    The steps follow one another in this order. They work on a slice's range: 0 to 1 if all its values are between, else
    from its lowest to its highest value (as with zscore); results are cut off there, so the range is kept. All channels
    of a slice get the same steps with the same numbers, and each channel noise of its own. A step whose limit is 0
    changes nothing. Strengths are drawn between no change and the limit: uniformly for blur and noise, else so that a
    factor is as likely as its inverse.

    Paper: Van Leemput et al., Automated model-based bias field correction of MR images of the brain, IEEE Trans. Med.
        Imaging 18(10), 1999, p. 885 (polynomial bias field); Gudbjartsson and Patz, The Rician distribution of noisy
        MRI data, Magn. Reson. Med. 34(6), 1995, p. 910 (Rician noise); Isensee et al., nnU-Net, Nature Methods 18,
        2021, supplementary note on data augmentation (choice of steps and their probabilities)

    Attributes:
        record, drawn_by_slice: whether to say what is drawn, and what the last call drew for each slice; for
            ``giseg show``.
    """

    record = False
    drawn_by_slice: Sequence[Sequence[str]] = ()

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The changed batch; the batch that is handed in keeps its tensors as they were.

        Args:
            batch: images ``[B, C, H, W]`` with any number of weighted targets, which stay.
            rng: the batch's own generator; every draw comes from it, whatever the device.

        Returns:
            A batch of the same sizes, weights and memory formats.
        """
        draws = IntensityDraws(self, len(batch.images), rng)
        self.drawn_by_slice = draws.words() if self.record else ()
        return dataclasses.replace(batch, images=change(batch.images, draws, batch.send))


def change(images: torch.Tensor, draws: IntensityDraws, send: Send) -> torch.Tensor:
    """New images ``[B, C, H, W]`` after the steps that were drawn.

    Args:
        send: an array to a tensor beside the images.
    """
    result = images.clone()
    steps = {"bias": _bias, "blur": _blur, "noise": _noise, "rician": _rician, "contrast": _contrast, "gamma": _gamma}
    low, span = _range(images)
    for name, step in steps.items():
        rows = draws.chosen(name)
        if not len(rows):
            continue
        there = send(rows)
        floor, width = low.index_select(0, there), span.index_select(0, there)
        values = (result.index_select(0, there) - floor) / width  # [M, C, H, W] in [0, 1]
        changed = step(values, draws, send).clamp(0, 1)
        result.index_copy_(0, there, changed * width + floor)
    return result


def _range(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest value of each slice's range and the range's width, ``[B, 1, 1, 1]``; no range has the width 0."""
    lowest, highest = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    usual = (lowest >= 0) & (highest <= 1)
    low = torch.where(usual, torch.zeros_like(lowest), lowest)
    span = torch.where(usual | (highest <= lowest), torch.ones_like(lowest), highest - lowest)
    return low, span


def _size(values: torch.Tensor) -> tuple[int, int]:
    return int(values.shape[2]), int(values.shape[3])


def _bias(values: torch.Tensor, draws: IntensityDraws, send: Send) -> torch.Tensor:
    return values * send(draws.fields(_size(values)))[:, None]


def _blur(values: torch.Tensor, draws: IntensityDraws, send: Send) -> torch.Tensor:
    """Along the rows, then along the columns, each slice with its own kernel."""
    kernels = send(draws.kernels(_size(values)))  # [M, N]
    count, channels, height, width = values.shape
    radius = kernels.shape[1] // 2
    flat = values.reshape(1, count * channels, height, width)
    each = kernels.repeat_interleave(channels, 0)[:, None, None]  # [M * C, 1, 1, N]
    for weights, padding in ((each, (radius, radius, 0, 0)), (each.transpose(2, 3), (0, 0, radius, radius))):
        padded = functional.pad(flat, padding, mode="reflect")
        flat = functional.conv2d(padded, weights, groups=count * channels)
    return flat.reshape(count, channels, height, width)


def _noise(values: torch.Tensor, draws: IntensityDraws, send: Send) -> torch.Tensor:
    return values + send(draws.normals("noise", values.shape[1], _size(values)))[:, 0]


def _rician(values: torch.Tensor, draws: IntensityDraws, send: Send) -> torch.Tensor:
    parts = send(draws.normals("rician", values.shape[1], _size(values)))
    return torch.hypot(values + parts[:, 0], parts[:, 1])


def _contrast(values: torch.Tensor, draws: IntensityDraws, send: Send) -> torch.Tensor:
    factor = send(draws.contrast[draws.chosen("contrast")].astype("float32"))[:, None, None, None]
    mean = values.mean((1, 2, 3), keepdim=True)
    return (values - mean) * factor + mean


def _gamma(values: torch.Tensor, draws: IntensityDraws, send: Send) -> torch.Tensor:
    exponent = send(draws.gamma[draws.chosen("gamma")].astype("float32"))[:, None, None, None]
    return values.pow(exponent)
