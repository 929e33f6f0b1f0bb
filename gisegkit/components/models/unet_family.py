"""U-shaped networks of segmentation-models-pytorch: each level of the encoder reaches the decoder's level of its size.

All of them, as the other networks here, take images of any height and width (the borders are repeated where the
encoder cannot halve them, and the logits cropped) and any number of channels (pretrained filters are kept: summed for
one channel, else repeated in turn and rescaled).

Every factory returns a module, ``[B, in_channels, H, W]`` to logits ``[B, classes, H, W]``. It raises ComponentError
if the encoder or its weights do not exist, cannot be had, or do not fit the network.

Parameters that mean the same in several of them:

Args:
    in_channels: channels of the images.
    classes: channels of the logits.
    encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name.
    weights: ``imagenet`` or another set that the encoder offers, a .safetensors or .pth file, or ``none``.
    depth: how often the encoder halves the image.
    decoder_channels: channels of the decoder's levels, coarse to fine, as many as depth.
    decoder_norm: normalization in the decoder.
    decoder_attention: attention in the decoder; scse is channel and spatial squeeze and excitation.
    decoder_interpolation: how the decoder doubles its maps.
    batchnorm_momentum: weight of a new batch in the running statistics of batch normalization. Not set: the encoder's
        own with pretrained weights, 0.1 with random ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from torch import nn

from gisegkit.components.models import networks
from gisegkit.components.models.networks import build
from gisegkit.errors import ComponentError
from gisegkit.types import AtLeast, Between


def unet(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
    decoder_norm: Literal["batchnorm", "instancenorm", "identity"] = "batchnorm",
    decoder_attention: Literal["none", "scse"] = "none",
    decoder_interpolation: Literal["nearest", "bilinear", "bicubic", "area", "nearest-exact"] = "nearest",
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """U-Net over any encoder of segmentation-models-pytorch or timm.

    Paper: Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, arXiv:1505.04597
    """
    _check_channels(depth, decoder_channels, decoder_attention)
    return build(
        networks.Unet,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_channels=tuple(decoder_channels),
        decoder_use_norm=norm(decoder_norm),
        decoder_attention_type=None if decoder_attention == "none" else decoder_attention,
        decoder_interpolation=decoder_interpolation,
    )


def unetplusplus(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
    decoder_norm: Literal["batchnorm", "instancenorm", "identity"] = "batchnorm",
    decoder_attention: Literal["none", "scse"] = "none",
    decoder_interpolation: Literal["nearest", "bilinear", "bicubic", "area", "nearest-exact"] = "nearest",
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """U-Net++ (nested, densely connected skips) over any encoder of segmentation-models-pytorch or timm.

    Args:
        encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name; not ``mit_b*``.

    Paper: Zhou et al., UNet++: a nested U-Net architecture for medical image segmentation, arXiv:1807.10165
    """
    _check_channels(depth, decoder_channels, decoder_attention)
    return build(
        networks.UnetPlusPlus,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_channels=tuple(decoder_channels),
        decoder_use_norm=norm(decoder_norm),
        decoder_attention_type=None if decoder_attention == "none" else decoder_attention,
        decoder_interpolation=decoder_interpolation,
    )


def manet(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
    decoder_norm: Literal["batchnorm", "instancenorm", "identity"] = "batchnorm",
    decoder_pab_channels: Annotated[int, AtLeast(1)] = 64,
    decoder_interpolation: Literal["nearest", "bilinear", "bicubic", "area", "nearest-exact"] = "nearest",
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """MA-Net: a U-Net with position-wise attention at the bottom and multi-scale attention on the skips.

    The attention at the bottom compares every position with every other: memory grows with the fourth power of the
    image's side.

    Args:
        decoder_pab_channels: channels of the position-wise attention.

    Paper: Fan et al., MA-Net: a multi-scale attention network for liver and tumor segmentation,
        doi 10.1109/ACCESS.2020.3025372
    """
    _check_channels(depth, decoder_channels)
    return build(
        networks.MAnet,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_channels=tuple(decoder_channels),
        decoder_use_norm=norm(decoder_norm),
        decoder_pab_channels=decoder_pab_channels,
        decoder_interpolation=decoder_interpolation,
    )


def linknet(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    decoder_norm: Literal["batchnorm", "instancenorm", "identity"] = "batchnorm",
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """LinkNet: a light U-shaped network whose skips are added, not concatenated.

    Args:
        encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name; not ``mit_b*``.

    Paper: Chaurasia and Culurciello, LinkNet: exploiting encoder representations for efficient semantic segmentation,
        arXiv:1707.03718
    """
    return build(
        networks.Linknet,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_use_norm=norm(decoder_norm),
    )


def norm(name: str) -> str | dict[str, Any]:
    """The library's value for a normalization; its own instance normalization without weights cannot be initialized."""
    return {"type": "instancenorm", "affine": True} if name == "instancenorm" else name


def _check_channels(depth: int, channels: tuple[int, ...], attention: str = "none") -> None:
    if len(channels) != depth:
        raise ComponentError(
            f"model: decoder_channels has {len(channels)} entries and depth is {depth}; give one entry a level, "
            f"such as {[2 ** (depth + 3 - level) for level in range(depth)]}"
        )
    least, reason = (16, ' for decoder_attention = "scse"') if attention == "scse" else (1, "")
    if min(channels) < least:
        raise ComponentError(f"model: decoder_channels = {list(channels)}: every level needs {least} or more{reason}")
