"""Networks of segmentation-models-pytorch that gather context by dilation, pooling and pyramids, not level by level.

As all networks here they take images of any height and width and any number of channels; see ``unet_family.py``.

Every factory returns a module, ``[B, in_channels, H, W]`` to logits ``[B, classes, H, W]``. It raises ComponentError
if the encoder or its weights do not exist, cannot be had, or do not fit the network.

Parameters that mean the same in several of them:

Args:
    in_channels: channels of the images.
    classes: channels of the logits.
    encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name; one that can be dilated:
        not ``vgg*``, ``densenet*`` and most transformers.
    weights: ``imagenet`` or another set that the encoder offers, a .safetensors or .pth file, or ``none``.
    depth: how often the encoder halves the image.
    output_stride: how often smaller than the image the last map is; 8 makes the last maps four times as large.
    decoder_channels: channels of the atrous spatial pyramid pooling and of the decoder.
    decoder_atrous_rates: the pyramid's three dilations, in pixels of the encoder's last map.
    decoder_aspp_separable: whether the pyramid's convolutions are depthwise separable.
    decoder_aspp_dropout: share of the pyramid's outputs dropped in training.
    batchnorm_momentum: weight of a new batch in the running statistics of batch normalization. Not set: the encoder's
        own with pretrained weights, 0.1 with random ones.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from gisegkit.components.models import networks
from gisegkit.components.models.networks import build
from gisegkit.components.models.unet_family import norm
from gisegkit.errors import ComponentError
from gisegkit.types import AtLeast, Between


def deeplabv3(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    output_stride: Literal[8, 16] = 8,
    decoder_channels: Annotated[int, AtLeast(1)] = 256,
    decoder_atrous_rates: tuple[int, ...] = (12, 24, 36),
    decoder_aspp_separable: bool = False,
    decoder_aspp_dropout: Annotated[float, Between(0, 1)] = 0.5,
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """DeepLabV3: atrous spatial pyramid pooling over a dilated encoder.

    Trains with 2 images at once or more: its pooling over the whole image is batch-normalized.

    Paper: Chen et al., Rethinking atrous convolution for semantic image segmentation, arXiv:1706.05587
    """
    _check_rates(decoder_atrous_rates)
    return build(
        networks.DeepLabV3,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        decoder_atrous_rates=tuple(decoder_atrous_rates),
        decoder_aspp_separable=decoder_aspp_separable,
        decoder_aspp_dropout=decoder_aspp_dropout,
    )


def deeplabv3plus(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    output_stride: Literal[8, 16] = 16,
    decoder_channels: Annotated[int, AtLeast(1)] = 256,
    decoder_atrous_rates: tuple[int, ...] = (12, 24, 36),
    decoder_aspp_separable: bool = True,
    decoder_aspp_dropout: Annotated[float, Between(0, 1)] = 0.5,
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """DeepLabV3+: DeepLabV3 with a decoder that adds the encoder's fine map; trains with 2 images at once or more.

    Paper: Chen et al., Encoder-decoder with atrous separable convolution for semantic image segmentation,
        arXiv:1802.02611
    """
    _check_rates(decoder_atrous_rates)
    return build(
        networks.DeepLabV3Plus,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        decoder_atrous_rates=tuple(decoder_atrous_rates),
        decoder_aspp_separable=decoder_aspp_separable,
        decoder_aspp_dropout=decoder_aspp_dropout,
    )


def pspnet(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 3,
    psp_out_channels: Annotated[int, AtLeast(1)] = 512,
    decoder_norm: Literal["batchnorm", "instancenorm", "identity"] = "batchnorm",
    psp_dropout: Annotated[float, Between(0, 1)] = 0.2,
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """PSPNet: pyramid pooling over a shallow encoder.

    Args:
        encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name.
        depth: how often the encoder halves the image; the logits are brought back in one step.
        psp_out_channels: channels after the pyramid.
        decoder_norm: normalization in the decoder.
        psp_dropout: share of the channels dropped in training.

    Paper: Zhao et al., Pyramid scene parsing network, arXiv:1612.01105
    """
    return build(
        networks.PSPNet,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        psp_out_channels=psp_out_channels,
        decoder_use_norm=norm(decoder_norm),
        psp_dropout=psp_dropout,
        upsampling=2**depth,
    )


def pan(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    output_stride: Literal[16, 32] = 16,
    decoder_channels: Annotated[int, AtLeast(1)] = 32,
    decoder_interpolation: Literal["nearest", "bilinear", "bicubic", "area", "nearest-exact"] = "bilinear",
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """PAN: feature pyramid attention over the encoder, global attention on the way up.

    Trains with 2 images at once or more: its pooling over the whole image is batch-normalized. Its attention needs
    images of 8 times the output stride: smaller ones are padded to 128 pixels, or 256 with output_stride 32.

    Args:
        encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name; with
            output_stride 16 one that can be dilated.
        output_stride: how often smaller than the image the encoder's last map is.
        decoder_channels: channels of the decoder.
        decoder_interpolation: how the decoder enlarges its maps.

    Paper: Li et al., Pyramid attention network for semantic segmentation, arXiv:1805.10180
    """
    return build(
        networks.PAN,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        decoder_interpolation=decoder_interpolation,
    )


def _check_rates(rates: tuple[int, ...]) -> None:
    if len(rates) != 3 or min(rates) < 1:
        raise ComponentError(f"model: decoder_atrous_rates = {list(rates)}: give three dilations of 1 or more")
