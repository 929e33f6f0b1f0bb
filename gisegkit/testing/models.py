"""The contract of models: logits of the right shape, that come from the image alone, train and can be restored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from gisegkit.errors import listed
from gisegkit.testing.expect import call, doubt, expect, form

Build = Callable[..., nn.Module]


def check_model(
    build: Build,
    *,
    size: tuple[int, int] = (64, 96),
    numbers: Sequence[tuple[int, int]] = ((1, 3), (5, 1)),
    in_use: tuple[int, int] | None = None,
) -> None:
    """A model maps ``[B, C, H, W]`` to finite logits ``[B, K, H, W]``, trains, and evaluates deterministically.

    Evaluation mode: the logits of a slice depend on that slice, and on nothing else in its batch.

    Args:
        build: called as ``build(in_channels=C, classes=K)``.
        size: H and W in pixels; not a square, so that H and W cannot be swapped unseen.
        numbers: pairs of C and K that are tried.
        in_use: H and W of a recipe, where ``size`` is a quicker one: one image of it is tried too, in evaluation mode.

    Raises:
        ContractError: at the first violation.
    """
    for channels, classes in numbers:
        _check_one(build, channels, classes, size)
        if in_use is not None and in_use != size:
            model = _built(build, channels, classes)
            with torch.no_grad():
                _logits(model.eval(), torch.rand(1, channels, *in_use), classes)


def _built(build: Build, channels: int, classes: int) -> nn.Module:
    model = call(f"in_channels = {channels}, classes = {classes}", build, in_channels=channels, classes=classes)
    expect(isinstance(model, nn.Module), f"it is no torch module but {form(model)}")
    assert isinstance(model, nn.Module)  # expect has raised otherwise
    return model


def _check_parts(model: nn.Module) -> None:
    """Parts that a recipe may name, if there are any, are modules of the network that share no parameters."""
    tell = getattr(model, "parts", None)
    if tell is None:
        return
    parts = call("parts", tell)
    whole = isinstance(parts, dict) and all(isinstance(part, nn.Module) for part in parts.values())
    expect(whole, f"parts() returns {form(parts)}, not a dict of names and modules")
    owned = {id(value) for value in model.parameters()}
    seen: dict[int, str] = {}
    for name, part in parts.items():
        for value in part.parameters():
            expect(id(value) in owned, f"part {name!r} has parameters that are not the network's")
            other = seen.setdefault(id(value), name)
            expect(other == name, f"the parts {other!r} and {name!r} share parameters")


def _check_one(build: Build, channels: int, classes: int, size: tuple[int, int]) -> None:
    model = _built(build, channels, classes)
    generator = torch.Generator().manual_seed(0)
    _check_parts(model)
    images = torch.rand(2, channels, *size, generator=generator)
    _stir(model, generator)
    logits = _logits(model.train(), images, classes)
    call("a backward pass", logits.square().mean().backward)
    missed = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    trained = sum(value.requires_grad for value in model.parameters()) - len(missed)
    expect(trained > 0, "no parameter receives a gradient")
    doubt(
        bool(missed),
        f"{len(missed)} parameters receive no gradient, so they are never trained: {listed(missed, shown=3)}",
    )
    with torch.no_grad():
        first, second = (_logits(model.eval(), images, classes) for _ in range(2))
        expect(bool(torch.isfinite(first).all()), "logits are not finite")
        expect(torch.equal(first, second), "in evaluation mode the same input gives two outputs")
        _check_restored(build(in_channels=channels, classes=classes), model, images, first)
        _check_independent(model, images, first)
        extremes = _logits(model, images * 2000 - 1000, classes)
        bounded = all(bool(((values >= 0) & (values <= 1)).all()) for values in (first, extremes))
        doubt(bounded, "all its outputs lie in [0, 1]: it seems to return probabilities, and gisegkit wants logits")


def _stir(model: nn.Module, generator: torch.Generator) -> None:
    """Move every parameter a little: a last layer that starts at 0 would give the same for every image."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.02)


def _logits(model: nn.Module, images: torch.Tensor, classes: int) -> torch.Tensor:
    """What the model makes of images, of the right shape."""
    what = f"images {list(images.shape)}, in_channels = {images.shape[1]}, classes = {classes}"
    logits = call(what, model, images)
    expect(
        isinstance(logits, torch.Tensor) and logits.is_floating_point(),
        f"it returns a {form(logits)}; a model returns a tensor of logits [B, K, H, W]",
    )
    wanted = [len(images), classes, *images.shape[2:]]
    expect(
        list(logits.shape) == wanted,
        f"{what}: logits are {list(logits.shape)}, not {wanted} ([B, K, H, W], as many rows and columns as the image)",
    )
    return torch.as_tensor(logits)


def _check_restored(twin: nn.Module, model: nn.Module, images: torch.Tensor, expected: torch.Tensor) -> None:
    call("its own state dict", twin.load_state_dict, model.state_dict())
    expect(
        torch.equal(expected, twin.eval()(images)),
        "the state dict does not restore the model: something in it is neither a parameter, nor a buffer, nor a module "
        "that stands in an attribute or a ModuleList (layers in a plain list are neither trained nor saved)",
    )


def _check_independent(model: nn.Module, images: torch.Tensor, expected: torch.Tensor) -> None:
    """Another image gives another output; other images of the batch do not."""
    scale = float(expected.abs().max())
    mixed = torch.cat([images[:1], 1 + 2 * images[1:]])
    classes = expected.shape[1]
    beside = _logits(model, mixed, classes)
    expect(
        not torch.equal(beside[1], expected[1]) and not torch.equal(expected[0], expected[1]),
        "two images give one output: the model ignores the image",
    )
    expect(
        float((beside[0] - expected[0]).abs().max()) <= 1e-3 * scale,
        "in evaluation mode the logits of a slice depend on the other slices of its batch",
    )
