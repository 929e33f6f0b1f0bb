"""R2U-Net: a U-Net of recurrent residual units, with the paper's own encoder or over any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import nn
from torch.nn import functional

from gisegkit.components.models.any_size import AnySize
from gisegkit.components.models.encoders import make_encoder
from gisegkit.components.models.networks import build, finish
from gisegkit.components.models.weights import is_file
from gisegkit.errors import ComponentError
from gisegkit.types import AtLeast, Between


class RecurrentConv(nn.Module):
    """A recurrent convolutional layer, equations 1 and 2 of the paper, unfolded over ``steps`` time steps.

    ``O(0) = W_f * x + b`` and ``O(t) = W_f * x + W_r * s(t-1) + b``, where the state ``s(t) = ReLU(BN_t(O(t)))``: one
    forward convolution and then ``steps`` recurrent ones, which share their weights. The equations have no batch
    normalization; it stands where implementations put it, before each ReLU. Every time step has its own, because the
    steps' distributions differ: running statistics mixed over the steps would fit none of them in evaluation.
    """

    def __init__(self, in_channels: int, channels: int, steps: int) -> None:
        super().__init__()
        self.forward_conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.recurrent_conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False) if steps else None
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(steps + 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, in_channels, H, W]`` to the last state ``[B, channels, H, W]``."""
        driven = self.forward_conv(inputs)
        state = functional.relu(self.norms[0](driven))
        if self.recurrent_conv is not None:
            for norm in self.norms[1:]:
                state = functional.relu(norm(driven + self.recurrent_conv(state)))
        return state


class RecurrentResidualUnit(nn.Module):
    """Two recurrent layers and the residual around them, ``x + F(x)``, after a 1 x 1 projection to ``channels``."""

    def __init__(self, in_channels: int, channels: int, steps: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, channels, 1)
        self.layers = nn.Sequential(RecurrentConv(channels, channels, steps), RecurrentConv(channels, channels, steps))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, in_channels, H, W]`` to ``[B, channels, H, W]``."""
        projected = self.project(inputs)
        return torch.as_tensor(projected + self.layers(projected))


class R2Encoder(nn.Module):
    """The paper's encoder: recurrent residual units with max pooling between them."""

    def __init__(self, in_channels: int, channels: Sequence[int], steps: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            RecurrentResidualUnit(before, after, steps)
            for before, after in zip((in_channels, *channels), channels, strict=False)
        )
        self.output_stride = 2 ** (len(channels) - 1)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """``[B, in_channels, H, W]`` to one map a level, fine to coarse, each half the size of the one before."""
        maps = [self.stages[0](images)]
        for stage in self.stages[1:]:
            maps.append(stage(functional.max_pool2d(maps[-1], 2)))
        return maps


class R2Block(nn.Module):
    """One level of the decoder: the coarser map doubled, beside the encoder's, through a recurrent residual unit."""

    def __init__(self, in_channels: int, skip_channels: int, channels: int, steps: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, channels, 2, stride=2)
        self.unit = RecurrentResidualUnit(channels + skip_channels, channels, steps)

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """``[B, in_channels, H, W]`` and maybe ``[B, skip_channels, 2H, 2W]`` to ``[B, channels, 2H, 2W]``."""
        doubled = self.up(coarse)
        return torch.as_tensor(self.unit(doubled if skip is None else torch.cat([skip, doubled], 1)))


class R2Decoder(nn.Module):
    """The way up: a block for each level, from coarse to fine."""

    def __init__(self, bottom: int, skips: Sequence[int], channels: Sequence[int], steps: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            R2Block(before, skip, after, steps)
            for before, skip, after in zip((bottom, *channels), skips, channels, strict=False)
        )

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """The encoder's maps, coarse to fine, to the finest level; if there is no map for it, without."""
        result, *skips = maps
        for block, skip in zip(self.blocks, [*skips, None], strict=False):
            result = block(result, skip)
        return result


class _Body(nn.Module):
    """Encoder, decoder and head, for images that the encoder can halve."""

    encoder: nn.Module
    decoder: nn.Module
    segmentation_head: nn.Module

    skipped_maps = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.encoder(images)[self.skipped_maps :]
        return torch.as_tensor(self.segmentation_head(self.decoder(maps[::-1])))


class R2UNet(AnySize, _Body):
    """The paper's network. Level ``l`` is ``2^l`` times smaller than the image and has ``width * 2^l`` channels."""

    def __init__(self, *, in_channels: int, classes: int, depth: int, width: int, steps: int) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth)]
        self.encoder = R2Encoder(in_channels, channels, steps)
        upwards = channels[-2::-1]
        self.decoder = R2Decoder(channels[-1], upwards, upwards, steps)
        self.segmentation_head = nn.Conv2d(width, classes, 1)


class EncoderR2UNet(AnySize, _Body):
    """The paper's decoder over an encoder of the library: its map of the image's own size is the image, left out."""

    skipped_maps = 1

    def __init__(self, *, in_channels: int, classes: int, depth: int, width: int, steps: int, **encoder: Any) -> None:
        super().__init__()
        self.encoder = make_encoder(in_channels=in_channels, depth=depth, **encoder)
        bottom, *skips = self.encoder.out_channels[:0:-1]
        self.decoder = R2Decoder(bottom, [*skips, 0], [width * 2**level for level in reversed(range(depth))], steps)
        self.segmentation_head = nn.Conv2d(width, classes, 1)


def r2unet(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "none",
    weights: str = "none",
    steps: Annotated[int, Between(0, 8)] = 2,
    width: Annotated[int, AtLeast(1)] = 64,
    depth: Annotated[int, Between(2, 6)] = 5,
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """R2U-Net: a U-Net of recurrent residual units, the paper's own or its decoder over any encoder.

    Args:
        in_channels: channels of the images.
        classes: channels of the logits.
        encoder: ``none`` for the paper's own; else the encoder's name, ``efficientnet-b1``, or ``tu-`` and timm's name.
        weights: ``none``, the path of a .safetensors or .pth file, or with an encoder ``imagenet`` or another set that
            it offers.
        steps: the paper's t, how often each layer feeds its state back through the shared weights; 0 is a plain
            residual U-Net.
        width: channels of the finest level; each coarser one has twice as many.
        depth: levels with recurrent residual units. The paper's encoder halves the image once less than that; another
            encoder halves it depth times (3 to 5), and its coarsest map comes below the levels.
        batchnorm_momentum: weight of a new batch in the running statistics of batch normalization. Not set: the
            encoder's own with pretrained weights, 0.1 with random ones.

    Returns:
        A module, ``[B, in_channels, H, W]`` to logits ``[B, classes, H, W]``.

    Raises:
        ComponentError: if the encoder or its weights do not exist, cannot be had, or do not fit the network.

    Paper: Alom et al., Recurrent residual convolutional neural network based on U-Net (R2U-Net) for medical image
        segmentation, arXiv:1802.06955
    """
    sizes = {"in_channels": in_channels, "classes": classes, "depth": depth, "width": width, "steps": steps}
    if encoder != "none":
        if not 3 <= depth <= 5:
            raise ComponentError(
                f"model: depth = {depth} with encoder {encoder!r}: encoders halve the image 3 to 5 times"
            )
        return build(EncoderR2UNet, encoder, weights, batchnorm_momentum, **sizes)
    if weights != "none" and not is_file(weights):
        raise ComponentError(
            f"model: weights = {weights!r}, and the paper's own encoder has no pretrained weights; "
            'weights = "none", a file, or another encoder such as "efficientnet-b1"'
        )
    return finish(R2UNet(**sizes), encoder, weights, batchnorm_momentum, in_channels)
