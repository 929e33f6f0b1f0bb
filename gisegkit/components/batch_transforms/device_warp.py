"""Augmentation on the device: the batch transform ``warp``, and the deck's policies made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch.nn import functional

from gisegkit.components.augmentation.warp_draws import Draws, WarpSettings, blurred_waves
from gisegkit.types import Batch, Between

if TYPE_CHECKING:
    from gisegkit.types import AnyArray


class DeviceWarp(WarpSettings):
    """Flip, shift-scale-rotate and a distortion as one displacement, by which a batch is sampled once; then holes.

    Each slice has its own draws, those of the deck's policies on the CPU. Images are sampled bilinearly, masks take the
    nearest pixel, all weighted targets alike; the border is reflected; a slice that is only flipped is not sampled.
    Its defaults are those of ``initial_device``. Write ``[augmentation] name = "none"`` beside it.

    Paper: Simard et al., Best practices for convolutional neural networks applied to visual document analysis,
        ICDAR 2003 (elastic distortions); DeVries and Taylor, Improved regularization of convolutional neural networks
        with cutout, arXiv:1708.04552 (holes)

    Attributes:
        record, drawn_by_slice: whether to say what is drawn, and what the last call drew for each slice; for
            ``giseg show``.
    """

    record = False
    drawn_by_slice: Sequence[Sequence[str]] = ()

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The warped batch; the batch that is handed in keeps its tensors as they were.

        Args:
            batch: images ``[B, C, H, W]`` with any number of weighted targets ``[B, K, H, W]``, NaN where ignored.
            rng: the batch's own generator; every draw comes from it, whatever the device.

        Returns:
            A batch of the same sizes, weights and memory formats.
        """
        height, width = batch.images.shape[2:]
        draws = Draws(self, (height, width), len(batch.images), rng)
        self.drawn_by_slice = draws.words() if self.record else ()
        move = _Move(draws, batch)
        return dataclasses.replace(
            batch,
            images=move(batch.images, "bilinear"),
            targets=tuple((weight, move(target, "nearest")) for weight, target in batch.targets),
        )


class _Move:
    """A batch's draws beside its images; called with values ``[B, C, H, W]`` it gives them warped."""

    def __init__(self, draws: Draws, batch: Batch) -> None:
        height, width = draws.size
        field, holes = draws.field(), draws.holes()
        # -1 and 1 are the middles of the first and the last pixel, so that reflection leaves the last pixel out.
        scale = 2 / np.maximum([[width - 1], [height - 1]], 1)  # [2, 1], x and y
        columns = (field.columns * scale).transpose(0, 2, 1)  # [M, W, 2]
        rows = (field.rows * scale - 1).transpose(0, 2, 1)  # [M, H, 2]
        waves = np.moveaxis(field.waves * scale[:, :, None], 1, -1)  # [E, V, U, 2]
        bases = [blurred_waves(side, draws.settings.sigma) for side in draws.size]  # [H, V], [W, U]
        sent = _send([draws.flip, field.samples, columns, rows, waves, *bases, holes], batch)
        self._flip = sent[0].bool()[:, None, None, None]
        self._samples = sent[1].long()
        self._grid = sent[2][:, None] + sent[3][:, :, None]  # [M, H, W, 2]
        if len(waves):
            self._grid[: len(waves)] += torch.einsum("hv,evuc,wu->ehwc", sent[5], sent[4], sent[6])
        self._holes = None
        if draws.dropout.any():
            self._holes = _covered(sent[7], draws.hole_size(), draws.size)[:, None]  # [B, 1, H, W]

    def __call__(self, values: torch.Tensor, mode: str) -> torch.Tensor:
        """``values`` sampled by ``mode``, bilinear or nearest, black in the holes."""
        result = torch.where(self._flip, values.flip(-1), values)
        if len(self._samples):
            chosen = values.index_select(0, self._samples).contiguous()  # the sampler is slower on channels-last
            moved = functional.grid_sample(chosen, self._grid, mode=mode, padding_mode="reflection", align_corners=True)
            result.index_copy_(0, self._samples, moved)
        return result if self._holes is None else result.masked_fill_(self._holes, 0)


def _covered(holes: torch.Tensor, hole: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """``[B, H, W]`` bool: what the holes ``[B, N, 2]`` (top row, left column) of ``hole`` pixels cover."""
    inside = []
    for axis in range(2):
        pixels = torch.arange(size[axis], device=holes.device)
        start = holes[:, :, axis, None]
        inside.append(((pixels >= start) & (pixels < start + hole[axis])).to(torch.float32))  # [B, N, H or W]
    return torch.bmm(inside[0].transpose(1, 2), inside[1]) > 0


def _send(arrays: Sequence[AnyArray], batch: Batch) -> list[torch.Tensor]:
    """The arrays as float32 tensors beside the batch's images, in one copy."""
    flat = batch.send(np.concatenate([array.astype(np.float32).ravel() for array in arrays]))
    parts = flat.split([array.size for array in arrays])  # type: ignore[no-untyped-call]
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


def baseline_device(*, p: Annotated[float, Between(0, 1)] = 0.5) -> DeviceWarp:
    """The deck's baseline policy on the device: a horizontal flip.

    Args:
        p: probability of the flip.
    """
    return DeviceWarp(flip_p=p, shift_scale_rotate_p=0, distort_p=0)


def initial_device(
    *,
    flip_p: Annotated[float, Between(0, 1)] = 0.5,
    shift_scale_rotate_p: Annotated[float, Between(0, 1)] = 0.5,
    distort_p: Annotated[float, Between(0, 1)] = 0.25,
) -> DeviceWarp:
    """The deck's initial policy on the device: what the augmentation ``initial`` does on the CPU.

    Args:
        flip_p: probability of the flip.
        shift_scale_rotate_p: probability of shift, scale and rotation, which come together.
        distort_p: probability of a distortion, grid and elastic alike.
    """
    return DeviceWarp(flip_p=flip_p, shift_scale_rotate_p=shift_scale_rotate_p, distort_p=distort_p)


def final_device(
    *,
    flip_p: Annotated[float, Between(0, 1)] = 0.5,
    shift_scale_rotate_p: Annotated[float, Between(0, 1)] = 0.5,
    distort_p: Annotated[float, Between(0, 1)] = 0.25,
    cutout_p: Annotated[float, Between(0, 1)] = 0.5,
) -> DeviceWarp:
    """The deck's final policy on the device: what the augmentation ``final`` does on the CPU.

    Args:
        flip_p: probability of the flip.
        shift_scale_rotate_p: probability of shift, scale and rotation, which come together.
        distort_p: probability of a distortion, grid and elastic alike.
        cutout_p: probability of 5 to 8 holes of a 20th of the side, black and without any class.
    """
    return DeviceWarp(flip_p=flip_p, shift_scale_rotate_p=shift_scale_rotate_p, distort_p=distort_p, cutout_p=cutout_p)
