"""Networks of segmentation-models-pytorch, and the only place that knows that library.

Encoders are those of the library (``efficientnet-b1``) and, after ``tu-``, those of timm (``tu-convnext_tiny``).
Pretrained weights come from the Hugging Face cache, or are downloaded into it.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal, TypeVar

import huggingface_hub
import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub import constants
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import nn
from torch.nn import functional

from gisegkit.errors import ComponentError, did_you_mean
from gisegkit.types import Between

TIMM_PREFIX = "tu-"
CONNECT_SECONDS = 2.0
"""How long the hub may take to answer before the weights count as out of reach; its own library retries for 23 s."""

Network = TypeVar("Network", bound=nn.Module)


class _AnySize(nn.Module):
    """Lets a network take any height and width: the borders are repeated up to its stride, and cropped off again."""

    encoder: Any

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        stride: int = self.encoder.output_stride
        below, right = -height % stride, -width % stride
        if below or right:
            images = functional.pad(images, (0, right, 0, below), mode="replicate")
        logits: torch.Tensor = super().forward(images)
        return logits[..., :height, :width]


class Unet(_AnySize, smp.Unet):  # type: ignore[misc]
    """The library's U-Net, for any height and width."""


class UnetPlusPlus(_AnySize, smp.UnetPlusPlus):  # type: ignore[misc]
    """The library's U-Net++, for any height and width."""


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
) -> nn.Module:
    """U-Net over any encoder of segmentation-models-pytorch or timm.

    Pretrained filters are kept when the images do not have 3 channels: they are repeated and rescaled. Images whose
    height or width the encoder cannot halve often enough are padded by repeating their border, and the logits cropped.

    Args:
        in_channels: channels of the images.
        classes: channels of the logits.
        encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name.
        weights: the encoder's pretrained weights (``imagenet``, or another that it offers); ``none`` for random ones.
        depth: how often the encoder halves the image.
        decoder_channels: channels of the decoder's levels, coarse to fine, as many as depth.
        decoder_norm: normalization in the decoder.
        decoder_attention: attention in the decoder; scse is channel and spatial squeeze and excitation.
        decoder_interpolation: how the decoder doubles its maps.

    Returns:
        A module, ``[B, in_channels, H, W]`` to logits ``[B, classes, H, W]``.

    Raises:
        ComponentError: if the encoder or its weights do not exist or cannot be had, or the parts do not fit.

    Paper: Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, arXiv:1505.04597
    """
    return _build(
        Unet,
        encoder,
        weights,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_channels=tuple(decoder_channels),
        decoder_use_norm=decoder_norm,
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
) -> nn.Module:
    """U-Net++ (nested, densely connected skips) over any encoder of segmentation-models-pytorch or timm.

    Pretrained filters are kept when the images do not have 3 channels: they are repeated and rescaled. Images whose
    height or width the encoder cannot halve often enough are padded by repeating their border, and the logits cropped.

    Args:
        in_channels: channels of the images.
        classes: channels of the logits.
        encoder: the encoder's name, ``resnet34``, ``efficientnet-b1``, or ``tu-`` and timm's name; not ``mit_b*``.
        weights: the encoder's pretrained weights (``imagenet``, or another that it offers); ``none`` for random ones.
        depth: how often the encoder halves the image.
        decoder_channels: channels of the decoder's levels, coarse to fine, as many as depth.
        decoder_norm: normalization in the decoder.
        decoder_attention: attention in the decoder; scse is channel and spatial squeeze and excitation.
        decoder_interpolation: how the decoder doubles its maps.

    Returns:
        A module, ``[B, in_channels, H, W]`` to logits ``[B, classes, H, W]``.

    Raises:
        ComponentError: if the encoder or its weights do not exist or cannot be had, or the parts do not fit.

    Paper: Zhou et al., UNet++: a nested U-Net architecture for medical image segmentation, arXiv:1807.10165
    """
    return _build(
        UnetPlusPlus,
        encoder,
        weights,
        in_channels=in_channels,
        classes=classes,
        encoder_depth=depth,
        decoder_channels=tuple(decoder_channels),
        decoder_use_norm=decoder_norm,
        decoder_attention_type=None if decoder_attention == "none" else decoder_attention,
        decoder_interpolation=decoder_interpolation,
    )


def _build(network: type[Network], encoder: str, weights: str, **options: Any) -> Network:
    depth, channels = options["encoder_depth"], options["decoder_channels"]
    if len(channels) != depth:
        raise ComponentError(
            f"model: decoder_channels has {len(channels)} entries and depth is {depth}; give one entry a level, "
            f"such as {[2 ** (depth + 3 - level) for level in range(depth)]}"
        )
    least, reason = (16, ' for decoder_attention = "scse"') if options["decoder_attention_type"] else (1, "")
    if min(channels) < least:
        raise ComponentError(f"model: decoder_channels = {list(channels)}: every level needs {least} or more{reason}")
    chosen = _choose_weights(encoder, weights)
    try:
        with warnings.catch_warnings():
            # The library deprecates its own timm-* encoders; whoever names one has asked for it.
            warnings.filterwarnings("ignore", "`timm-` encoders are deprecated", DeprecationWarning)
            return network(**options, **chosen)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ComponentError(f"model: encoder {encoder!r} does not work in {network.__name__}: {error}") from error


def _choose_weights(encoder: str, weights: str) -> dict[str, Any]:
    """The library's keywords for an encoder and its weights, whose files are in the cache afterwards."""
    is_timm = encoder.startswith(TIMM_PREFIX)
    offered = _timm_weights(encoder) if is_timm else _smp_weights(encoder)
    if weights == "none":
        return {"encoder_name": encoder, "encoder_weights": None}
    if weights not in offered:
        raise ComponentError(
            f"model: encoder {encoder!r} has no weights {weights!r}; "
            f"it offers: {', '.join([*offered, 'none'])} (none: random weights)"
        )
    if is_timm:
        name = f"{encoder}.{offered[weights]}"
        path = _fetch(encoder, weights, _timm_repository(name.removeprefix(TIMM_PREFIX)), "model.safetensors")
        file = {"file": path, "custom_load": False}
        return {"encoder_name": name, "encoder_weights": True, "pretrained_cfg_overlay": file}
    settings = smp_encoders[encoder]["pretrained_settings"][weights]
    for name in ("config.json", "model.safetensors"):  # the library asks for both
        _fetch(encoder, weights, settings["repo_id"], name, settings["revision"])
    return {"encoder_name": encoder, "encoder_weights": weights}


def _smp_weights(encoder: str) -> dict[str, str]:
    if encoder not in smp_encoders:
        raise _unknown_encoder(encoder, [*smp_encoders, *(TIMM_PREFIX + name for name in timm.list_models())])
    return {name: name for name in smp_encoders[encoder]["pretrained_settings"]}


def _timm_weights(encoder: str) -> dict[str, str]:
    """Names of weights that a recipe may use, and timm's tag for each: the tags, and ``imagenet`` for the default."""
    architecture, dot, tag = encoder.removeprefix(TIMM_PREFIX).partition(".")
    if not timm.is_model(architecture):
        raise _unknown_encoder(encoder, [TIMM_PREFIX + name for name in timm.list_models()])
    if dot:
        raise ComponentError(
            f"model: encoder {encoder!r} holds the name of its weights; "
            f'write encoder = "{TIMM_PREFIX}{architecture}" and weights = "{tag}"'
        )
    names = [name for name in timm.list_pretrained(f"{architecture}.*") if _timm_repository(name)]
    tags = {tag: tag for tag in (name.partition(".")[2] for name in names)}
    default = getattr(timm.get_pretrained_cfg(architecture), "tag", "")
    return {"imagenet": default, **tags} if default in tags and "in1k" in default else tags


def _timm_repository(name: str) -> str:
    """Where the hub keeps the weights of ``architecture.tag``; empty for the few that lie elsewhere."""
    return getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None) or ""


def _unknown_encoder(encoder: str, known: list[str]) -> ComponentError:
    nearest = did_you_mean(encoder, known)
    return ComponentError(
        f"model: there is no encoder {encoder!r}; {nearest + ' ' if nearest else ''}"
        "List them with: python -c 'import segmentation_models_pytorch as smp, timm; "
        'print(*smp.encoders.get_encoder_names(), *("tu-" + name for name in timm.list_models()))\''
    )


def _fetch(encoder: str, weights: str, repository: str, name: str, revision: str | None = None) -> str:
    """The path of a file in the Hugging Face cache, downloaded if it is not there yet.

    Raises:
        ComponentError: if it is not there and cannot be downloaded; says so within seconds.
    """
    cached = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        return cached
    try:
        url = huggingface_hub.hf_hub_url(repository, name, revision=revision)
        huggingface_hub.get_hf_file_metadata(url, timeout=CONNECT_SECONDS)
        return str(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except Exception as error:  # the errors of the hub's HTTP client, which has been a different one each few versions
        cause = str(error).strip().split("\n", 1)[0] or type(error).__name__
        raise ComponentError(
            f"model: the weights {weights!r} of encoder {encoder!r} ({repository}) are not in the cache folder "
            f"{constants.HF_HUB_CACHE} and cannot be downloaded ({cause}).\n"
            "Ways out: start from random weights with --set model.weights=none; or run once on a machine with a "
            "network and copy its cache folder here; or point the environment variable HF_HOME to a folder "
            "whose hub/ holds them."
        ) from error
