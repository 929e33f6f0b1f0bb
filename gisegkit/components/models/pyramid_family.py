"""Networks of segmentation-models-pytorch that put feature pyramids and transformers to use.

As all networks here they take images of any height and width and any number of channels; see ``unet_family.py``.

Every factory returns a module, ``[B, in_channels, H, W]`` to logits ``[B, classes, H, W]``. It raises ComponentError
if the encoder or its weights do not exist, cannot be had, or do not fit the network.

Parameters that mean the same in several of them:

Args:
    in_channels: channels of the images.
    classes: channels of the logits.
    encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name.
    weights: ``imagenet`` or another set that the encoder offers, a .safetensors or .pth file, or ``none``.
    depth: how often the encoder halves the image.
    batchnorm_momentum: weight of a new batch in the running statistics of batch normalization. Not set: the encoder's
        own with pretrained weights, 0.1 with random ones.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from gisegkit.components.models import networks
from gisegkit.components.models.encoders import TIMM_PREFIX
from gisegkit.components.models.networks import build
from gisegkit.errors import ComponentError
from gisegkit.types import AtLeast, Between


def fpn(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    decoder_pyramid_channels: Annotated[int, AtLeast(1)] = 256,
    decoder_segmentation_channels: Annotated[int, AtLeast(32)] = 128,
    decoder_merge_policy: Literal["add", "cat"] = "add",
    decoder_dropout: Annotated[float, Between(0, 1)] = 0.2,
    decoder_interpolation: Literal["nearest", "bilinear", "bicubic", "area", "nearest-exact"] = "nearest",
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """FPN: a feature pyramid whose levels are brought to one size and merged.

    Args:
        decoder_pyramid_channels: channels of the pyramid.
        decoder_segmentation_channels: channels of the merged levels, a multiple of 32 (group normalization).
        decoder_merge_policy: whether the levels are added or concatenated.
        decoder_dropout: share of the channels dropped in training.
        decoder_interpolation: how the pyramid doubles its maps.

    Paper: Kirillov et al., Panoptic feature pyramid networks, arXiv:1901.02446; Lin et al.,
        Feature pyramid networks, arXiv:1612.03144
    """
    _check_groups(decoder_segmentation_channels)
    return build(
        networks.FPN,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_pyramid_channels=decoder_pyramid_channels,
        decoder_segmentation_channels=decoder_segmentation_channels,
        decoder_merge_policy=decoder_merge_policy,
        decoder_dropout=decoder_dropout,
        decoder_interpolation=decoder_interpolation,
        upsampling=2 ** (depth - 3),
    )


def upernet(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    decoder_channels: Annotated[int, AtLeast(1)] = 256,
    decoder_norm: Literal["batchnorm", "identity"] = "batchnorm",
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """UPerNet: pyramid pooling and a feature pyramid, the usual decoder of Swin and ConvNeXt.

    Args:
        decoder_channels: channels of the decoder.
        decoder_norm: normalization in the decoder; with batchnorm it trains with 2 images at once or more, because the
            pooling over the whole image is normalized too.

    Paper: Xiao et al., Unified perceptual parsing for scene understanding, arXiv:1807.10221
    """
    return build(
        networks.UPerNet,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_channels=decoder_channels,
        decoder_use_norm=decoder_norm,
    )


def segformer(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "efficientnet-b1",
    weights: str = "imagenet",
    depth: Annotated[int, Between(3, 5)] = 5,
    decoder_segmentation_channels: Annotated[int, AtLeast(1)] = 256,
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """SegFormer: all levels of the encoder, linearly mapped, in one step; made for ``mit_b0`` to ``mit_b5``.

    Args:
        decoder_segmentation_channels: channels that every level is mapped to.

    Paper: Xie et al., SegFormer: simple and efficient design for semantic segmentation with transformers,
        arXiv:2105.15203
    """
    return build(
        networks.Segformer,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_segmentation_channels=decoder_segmentation_channels,
    )


def dpt(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "tu-vit_base_patch16_224",
    weights: str = "imagenet",
    depth: Annotated[int, Between(1, 4)] = 4,
    output_indices: tuple[int, ...] | None = None,
    decoder_readout: Literal["cat", "add", "ignore"] = "cat",
    decoder_intermediate_channels: tuple[int, ...] = (256, 512, 1024, 1024),
    decoder_fusion_channels: Annotated[int, AtLeast(1)] = 256,
    batchnorm_momentum: Annotated[float, Between(0, 1)] | None = None,
) -> nn.Module:
    """DPT: dense prediction from the layers of a plain vision transformer of timm.

    Args:
        encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name:
            plain vision transformers only, with patches of 8, 16 or 32 pixels (``tu-vit*``, ``tu-deit*`` ...).
        depth: how many layers of the transformer are read.
        output_indices: which layers, counted from 0, as many as depth; not set: evenly spread to the last.
        decoder_readout: what becomes of the class token: concatenated to every position, added, or left out.
        decoder_intermediate_channels: channels of the layers read, fine to coarse, as many as depth.
        decoder_fusion_channels: channels in which the layers are fused.

    Paper: Ranftl et al., Vision transformers for dense prediction, arXiv:2103.13413
    """
    _check_transformer(encoder, depth, decoder_intermediate_channels, output_indices)
    return build(
        networks.DPT,
        encoder,
        weights,
        batchnorm_momentum,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        encoder_output_indices=None if output_indices is None else list(output_indices),
        decoder_readout=decoder_readout,
        decoder_intermediate_channels=tuple(decoder_intermediate_channels),
        decoder_fusion_channels=decoder_fusion_channels,
    )


def _check_groups(channels: int) -> None:
    if channels % 32:
        raise ComponentError(
            f"model: decoder_segmentation_channels = {channels}: give a multiple of 32, the number of groups that are "
            "normalized together"
        )


def _check_transformer(
    encoder: str, depth: int, channels: tuple[int, ...], output_indices: tuple[int, ...] | None
) -> None:
    """Check what DPT reads of a transformer: one entry a layer, and a transformer of timm."""
    for name, given in (("decoder_intermediate_channels", channels), ("output_indices", output_indices)):
        if given is not None and len(given) != depth:
            raise ComponentError(
                f"model: {name} has {len(given)} entries and depth is {depth}; give one entry for each layer read"
            )
    if min(channels) < 1:
        raise ComponentError(f"model: decoder_intermediate_channels = {list(channels)}: every entry needs 1 or more")
    if not encoder.startswith(TIMM_PREFIX):
        raise ComponentError(
            f'model: dpt takes vision transformers of timm only, not {encoder!r}: encoder = "tu-vit_base_patch16_224"'
        )
