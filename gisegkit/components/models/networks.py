"""The library's networks for images of any height and width, and how one is built around an encoder.

Every network has the attributes ``encoder``, ``decoder`` and ``segmentation_head``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gisegkit.components.models.any_size import AnySize
from gisegkit.components.models.encoders import find_encoder
from gisegkit.components.models.weights import is_file, load_weights
from gisegkit.errors import ComponentError

RANDOM_MOMENTUM = 0.1
"""Weight of a new batch in the running statistics when weights are random: torch's own. EfficientNet's 0.01 leaves them
behind in a short run, so that evaluation collapses while the training loss looks fine."""

COARSEST = 32
"""Some encoders need multiples of this many pixels, even where the network reads only their finer maps."""
TRY_SIZE, TRY_LARGER = 64, 160
"""Height and width in pixels of the images that a new network is tried out on; some encoders leave nothing of 64."""


class Unet(AnySize, smp.Unet):  # type: ignore[misc]
    """The library's U-Net."""


class UnetPlusPlus(AnySize, smp.UnetPlusPlus):  # type: ignore[misc]
    """The library's U-Net++."""


class MAnet(AnySize, smp.MAnet):  # type: ignore[misc]
    """The library's MA-Net."""


class Linknet(AnySize, smp.Linknet):  # type: ignore[misc]
    """The library's LinkNet."""


class FPN(AnySize, smp.FPN):  # type: ignore[misc]
    """The library's FPN."""


class PSPNet(AnySize, smp.PSPNet):  # type: ignore[misc]
    """The library's PSPNet."""


class DeepLabV3(AnySize, smp.DeepLabV3):  # type: ignore[misc]
    """The library's DeepLabV3."""


class DeepLabV3Plus(AnySize, smp.DeepLabV3Plus):  # type: ignore[misc]
    """The library's DeepLabV3+."""


class PAN(AnySize, smp.PAN):  # type: ignore[misc]
    """The library's PAN; its attention halves the deepest map three times."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.least_size = 8 * self.stride


class UPerNet(AnySize, smp.UPerNet):  # type: ignore[misc]
    """The library's UPerNet."""


class Segformer(AnySize, smp.Segformer):  # type: ignore[misc]
    """The library's SegFormer."""


class DPT(AnySize, smp.DPT):  # type: ignore[misc]
    """The library's DPT; its decoder brings the transformer's maps to 1/4, 1/8 ... of the image and back."""

    def __init__(self, **options: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Encoder does not have prefix tokens", UserWarning)
            super().__init__(**options)
        if len(strides := set(self.encoder.output_strides)) > 1:
            raise ValueError(f"it is no plain vision transformer: its layers have strides {sorted(strides)}")
        if options["decoder_readout"] != "ignore" and not self.encoder.has_prefix_tokens:
            raise ValueError('it has no class token; set decoder_readout = "ignore"')

    @property
    def stride(self) -> int:
        coarsest = 2 ** (len(self.encoder.output_strides) + 1)
        return max(int(self.encoder.output_stride), int(coarsest))


def build(network: type[AnySize], encoder: str, weights: str, momentum: float | None, **options: Any) -> nn.Module:
    """A network around an encoder, with its weights, tried out on a small image.

    Args:
        network: its class.
        encoder: name of the encoder.
        weights: name of pretrained weights, ``none``, or the path of a file.
        momentum: weight of a new batch in the running statistics of batch normalization, or None for the default.
        options: keywords of the class, ``in_channels`` and ``classes`` among them.

    Raises:
        ComponentError: if encoder or weights cannot be had, or do not work in this network.
    """
    source = find_encoder(encoder, weights)
    try:
        with _quiet():
            model = network(**options, **source.keywords)
    except Exception as error:  # the libraries raise whatever comes: KeyError, AssertionError, TypeError ...
        stride = options.get("encoder_output_stride", 32)
        undilatable = stride != 32 and isinstance(error, TypeError | AssertionError | NotImplementedError)
        reason = ValueError(f"it cannot be dilated to output_stride = {stride}") if undilatable else error
        raise _does_not_work(encoder, network, reason) from error
    model.loading_report = source.report
    return finish(model, encoder, weights, momentum, options["in_channels"], pretrained=source.pretrained)


def finish(
    model: AnySize, encoder: str, weights: str, momentum: float | None, in_channels: int, *, pretrained: bool = False
) -> nn.Module:
    """Try a new network out, set its momentum and load its weights where they come from a file."""
    try:
        with _quiet():
            _try_out(model, in_channels)
    except Exception as error:
        raise _does_not_work(encoder, type(model), error) from error
    if is_file(weights):
        model.loading_report = load_weights(model, weights, in_channels)
        pretrained = True
    model.own_momentum = [(norm, norm.momentum) for norm in model.modules() if isinstance(norm, _BatchNorm)]
    if momentum is None and not pretrained:
        momentum = RANDOM_MOMENTUM
    if momentum is not None:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = momentum
    return model


def _does_not_work(encoder: str, network: type[nn.Module], error: Exception) -> ComponentError:
    reason = str(error).strip().split("\n", 1)[0]
    if not isinstance(error, ValueError | RuntimeError):  # those come with a sentence, others with a word
        reason = f"{type(error).__name__} {reason}"
    return ComponentError(
        f"model: encoder {encoder!r} does not work in {network.__name__}: {reason} "
        "(docs/models.md says which encoders fit which network)"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the libraries' warnings back that tell a user of gisegkit nothing to act on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`timm-` encoders are deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "Mapping deprecated model name", UserWarning)
        yield


@torch.no_grad()
def _try_out(model: AnySize, in_channels: int) -> None:
    """One image through the network: finds a misfit now, the sizes that some encoders need, and the least batch.

    Raises:
        Exception: whatever the network raises where the encoder does not fit it.
    """
    small = max(TRY_SIZE, model.least_size)
    large = max(TRY_LARGER, model.least_size)
    # An encoder with windows may take 64 pixels and no multiple of the stride in between, so one of these is tried too.
    attempts: list[tuple[list[tuple[int, ...]], dict[str, Any]]] = [
        ([(small, small), (small + model.stride % COARSEST,) * 2], {}),
        ([(small, small), (small + COARSEST,) * 2], {"least_step": COARSEST}),
        ([(large, large)], {"least_size": large, "least_step": COARSEST}),
    ]
    own = tuple(getattr(getattr(model.encoder, "model", None), "pretrained_cfg", {}).get("input_size", ())[1:])
    if own:
        attempts.append(([own], {"fixed_size": own}))
    model.eval()
    for number, (sizes, needs) in enumerate(attempts, start=1):
        try:
            pooled = [_pools_to_one_value(model, torch.zeros(1, in_channels, *size)) for size in dict.fromkeys(sizes)]
        except Exception:
            if number == len(attempts):
                raise
            continue
        for name, value in needs.items():
            setattr(model, name, value)
        break
    model.min_train_batch = 2 if any(pooled) else 1
    model.train()


def _pools_to_one_value(model: AnySize, image: torch.Tensor) -> bool:
    """Whether any batch normalization sees a map of one value when the image goes through the network."""
    seen: list[bool] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 0].numel() == 1))
        for module in model.modules()
        if isinstance(module, _BatchNorm)
    ]
    try:
        shape = model(image).shape[-2:]
    finally:
        for hook in hooks:
            hook.remove()
    if shape != image.shape[-2:]:
        raise ValueError(f"images of {tuple(image.shape[-2:])} pixels give logits of {tuple(shape)}")
    return any(seen)
