"""What every network of the library is: one that takes images of any height and width, in named parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from gisegkit.errors import ComponentError


class AnySize(nn.Module):
    """Lets a network take any height and width: the borders are repeated up to its stride, and cropped off again.

    Attributes:
        min_train_batch: fewest images that a training step needs: 2 where batch normalization follows a pooling over
            the whole image, and so sees one value an image.
        least_size: height and width are padded to at least this many pixels,
        least_step: and to multiples of this many and of the stride.
        fixed_size: the only height and width that its encoder takes, or None for any.
        loading_report: which weights were loaded, from where, and what did not fit; empty for random weights.
        own_momentum: of each batch normalization, before the one for random weights was set.
    """

    encoder: Any
    decoder: nn.Module
    segmentation_head: nn.Module
    min_train_batch: int = 1
    least_size: int = 1
    least_step: int = 1
    fixed_size: tuple[int, int] | None = None
    loading_report: str = ""
    own_momentum: Sequence[tuple[_BatchNorm, float | None]] = ()

    @property
    def stride(self) -> int:
        """Height and width are padded to multiples of this many pixels."""
        return int(self.encoder.output_stride)

    def parts(self) -> dict[str, nn.Module]:
        """What a recipe may freeze, or give a learning rate: encoder, decoder and head."""
        return {"encoder": self.encoder, "decoder": self.decoder, "head": self.segmentation_head}

    def count_as_pretrained(self) -> None:
        """Take back what is set for random weights: trained ones follow."""
        for norm, momentum in self.own_momentum:
            norm.momentum = momentum

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, K, H, W]`` of images ``[B, C, H, W]``."""
        height, width = images.shape[-2:]
        if self.fixed_size is not None and self.fixed_size != (height, width):
            raise ComponentError(
                f"model: this encoder takes images of {self.fixed_size} pixels only, these have {(height, width)}; "
                f"--set input.size={list(self.fixed_size)}"
            )
        step = max(self.stride, self.least_step)
        below, right = (-(-max(side, self.least_size) // step) * step - side for side in (height, width))
        if below or right:
            images = functional.pad(images, (0, right, 0, below), mode="replicate")
        logits: torch.Tensor = super().forward(images)
        return logits[..., :height, :width]
