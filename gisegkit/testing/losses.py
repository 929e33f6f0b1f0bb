"""The contract of losses: a finite scalar, a gradient that leads from wrong to right, every image of a batch counts."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from gisegkit.testing.expect import call, doubt, expect, form

IGNORED_LOGIT = -1e4
"""What the criterion puts in the place of an ignored pixel's logit."""


def check_loss(
    loss: nn.Module,
    *,
    classes: int = 3,
    size: tuple[int, int] = (16, 16),
    exclusive: bool = False,
    soft: bool = True,
    half: bool = True,
    gradients: bool = True,
) -> None:
    """A loss is a finite scalar with a right, finite gradient, on ordinary, empty, full, soft and half-precision input.

    The gradient is compared with central differences along random directions, so that a wrong ``backward`` is found
    before anything is trained.

    Args:
        loss: ``(logits, target)``, both ``[B, K, H, W]``, to a scalar.
        classes: K of the inputs.
        size: H and W of the inputs in pixels.
        exclusive: whether a pixel of the targets has one class at most, as a loss with ``exclusive_only`` asks anyway.
        soft: whether targets between 0 and 1 are tried, as mixup makes them.
        half: whether logits in half precision are tried; training hands over float32.
        gradients: whether the gradient is compared with differences; False for a loss that detaches a factor of it,
            takes the hardest pixels alone, or is random.

    Raises:
        ContractError: at the first violation.
    """
    alone = exclusive or bool(getattr(loss, "exclusive_only", False))
    cases = _cases(classes, size, alone, soft)
    logits, hard = _logits(classes, size), cases["ordinary masks"]
    for name, target in cases.items():
        _check_value(loss, logits, target, name)
    for dtype in (torch.bfloat16, torch.float16) if half else ():
        value = _value(loss, logits.to(dtype), hard, f"{dtype} logits")
        expect(bool(torch.isfinite(value)), f"the loss of {dtype} logits is {float(value)}")
    _check_direction(loss, hard)
    _check_ignored(loss, logits, hard)
    if _is_steady(loss, logits, hard):
        _check_batch(loss, hard)
    if not alone and classes > 1:
        _check_overlap(loss, size, classes)
    if gradients:
        check_gradient(loss, classes=classes, size=size, exclusive=alone, soft=soft)


def check_gradient(
    loss: nn.Module,
    *,
    classes: int = 3,
    size: tuple[int, int] = (16, 16),
    exclusive: bool = False,
    soft: bool = True,
) -> None:
    """The gradient of a loss is that of its value, found by central differences; the last part of ``check_loss``.

    A loss with a detached factor, or one that is random, is legal and fails here: a recipe with
    ``train.check_gradients = false`` leaves this check out.

    Args:
        loss, classes, size, exclusive, soft: as of ``check_loss``.

    Raises:
        ContractError: if the two differ, or the loss gives two values for one input.
    """
    alone = exclusive or bool(getattr(loss, "exclusive_only", False))
    cases = _cases(classes, size, alone, soft)
    logits = _logits(classes, size)
    first, second = (float(_value(loss, logits, cases["ordinary masks"], "twice", seed)) for seed in (0, 1))
    expect(
        first == second,
        f"the loss is random, or remembers: the same input costs {first:.6g}, then {second:.6g}; so its gradient "
        "cannot be compared with the loss",
    )
    for name, target in cases.items():
        _compare(loss, logits, target, name)


def _logits(classes: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(2, classes, *size, generator=torch.Generator().manual_seed(0))


def _cases(classes: int, size: tuple[int, int], exclusive: bool, soft: bool) -> dict[str, torch.Tensor]:
    """Targets ``[2, K, H, W]`` by what they are."""
    generator = torch.Generator().manual_seed(1)
    hard, other = (_masks(2, classes, size, exclusive, generator) for _ in range(2))
    full = torch.zeros_like(hard)
    full[:, : 1 if exclusive else classes] = 1.0
    between = 0.3 * hard + 0.7 * other if exclusive else torch.rand(hard.shape, generator=generator)
    cases = {
        "ordinary masks": hard,
        "empty masks": torch.zeros_like(hard),
        "full masks": full,
        "one class empty": hard * torch.tensor([0.0] + [1.0] * (classes - 1)).view(1, -1, 1, 1),
    }
    return {**cases, "soft targets": between} if soft else cases


def _masks(
    count: int, classes: int, size: tuple[int, int], exclusive: bool, generator: torch.Generator
) -> torch.Tensor:
    """Random masks ``[B, K, H, W]``; with exclusive, a pixel has one class or none."""
    if not exclusive:
        return (torch.rand(count, classes, *size, generator=generator) < 0.3).float()
    labels = torch.randint(0, classes + 1, (count, 1, *size), generator=generator)
    return (labels == torch.arange(1, classes + 1).view(1, -1, 1, 1)).float()


def _value(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor, case: str, seed: int = 0) -> Any:
    """The loss with torch's generator as the seed sets it, as training would: random losses then repeat."""
    known = "valid" in inspect.signature(loss.forward).parameters
    valid = {"valid": torch.ones_like(target, dtype=torch.bool)} if known else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return call(f"{case}, logits and target {list(logits.shape)}", loss, logits, target, **valid)


def _check_value(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor, name: str) -> None:
    """One case: scalar, finite, with a finite gradient, and the target as it was."""
    point = logits.clone().requires_grad_(True)
    before = target.clone()
    value = _value(loss, point, target, name)
    expect(isinstance(value, torch.Tensor) and value.ndim == 0, f"{name}: the loss is no scalar but {form(value)}")
    expect(bool(torch.isfinite(value)), f"{name}: the loss is {float(value.detach())}")
    expect(torch.equal(before, target), f"{name}: the loss changes its target in place")
    expect(value.requires_grad, f"{name}: the loss has no gradient; compute it from the logits with torch")
    (gradient,) = torch.autograd.grad(value, point, allow_unused=True)
    expect(gradient is not None, f"{name}: the loss has no gradient; compute it from the logits with torch")
    expect(bool(torch.isfinite(gradient).all()), f"{name}: the gradient is not finite")


def _check_direction(loss: nn.Module, hard: torch.Tensor) -> None:
    """Right costs less than wrong, and from wrong there is a way to right."""
    values = [_value(loss, sign * (hard - 0.5) * 20, hard, "confident logits (10 and -10)") for sign in (1, -1)]
    for value in values:
        expect(bool(torch.isfinite(value)), f"the loss of confident logits (10 and -10) is {float(value)}")
    right, wrong = map(float, values)
    alike = abs(right - wrong) <= 1e-5 * max(abs(right), abs(wrong))
    expect(right < wrong or alike, f"a right prediction costs {right:.4g}, the opposite {wrong:.4g}")
    doubt(alike, f"a right prediction costs as much as the opposite, {right:.4g}: the loss does not look at the target")
    slopes = []
    for point in (_logits(hard.shape[1], (hard.shape[2], hard.shape[3])), (0.5 - hard) * 4):
        point = point.requires_grad_(True)
        (gradient,) = torch.autograd.grad(_value(loss, point, hard, "a wrong prediction"), point)
        slopes.append(float(gradient.abs().max()))
    expect(
        max(slopes) > 0,
        "the gradient of a wrong prediction is 0 everywhere, so nothing is learned; compute the loss from "
        "probabilities, not from masks that are cut off at a threshold",
    )
    for sign in (1, -1):
        value = _value(loss, sign * (hard - 0.5) * 200, hard, "logits of 100")
        doubt(
            not bool(torch.isfinite(value)),
            f"the loss of very confident logits (100 and -100) is {float(value)}; torch's own functions, such as "
            "softplus, logsigmoid and binary_cross_entropy_with_logits, stay finite",
        )


def _check_ignored(loss: nn.Module, logits: torch.Tensor, hard: torch.Tensor) -> None:
    """Ignored pixels come as a very small logit and target 0."""
    point, target = logits.clone(), hard.clone()
    point[:, :, :2], target[:, :, :2] = IGNORED_LOGIT, 0.0
    point.requires_grad_(True)
    value = _value(loss, point, target, "ignored pixels")
    (gradient,) = torch.autograd.grad(value, point)
    doubt(
        not bool(torch.isfinite(value) & torch.isfinite(gradient).all()),
        f"the loss or its gradient is not finite where pixels are ignored (they come as logit {IGNORED_LOGIT:g} and "
        "target 0); it cannot train on data that have such pixels",
    )


def _is_steady(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether one input has one value, whatever is drawn."""
    first, second = (float(_value(loss, logits, target, "twice", seed)) for seed in (0, 1))
    return first == second


def _check_batch(loss: nn.Module, hard: torch.Tensor) -> None:
    """Each image counts, in whatever place, and a mean stays a mean."""
    target = torch.cat([hard, hard.flip(2)])
    right = (target - 0.5) * 4
    base = float(_value(loss, right, target, "a batch of 4"))
    noise = torch.randn(right.shape, generator=torch.Generator().manual_seed(2))
    for number in range(len(target)):
        logits = right.clone()
        logits[number] = noise[number] - right[number]
        changed = float(_value(loss, logits, target, "a batch of 4"))
        expect(
            changed != base,
            f"image {number + 1} of a batch of 4 does not count: right or wrong, the loss is {base:.6g}",
        )
    logits = right + noise
    order = torch.tensor([2, 0, 3, 1])
    one, other = (float(_value(loss, logits[o], target[o], "a batch of 4")) for o in (torch.arange(4), order))
    doubt(
        abs(one - other) > 1e-3 * max(abs(one), abs(other)),
        f"the order of the images in a batch changes the loss from {one:.4g} to {other:.4g}",
    )
    copies = logits[:1].repeat(4, 1, 1, 1), target[:1].repeat(4, 1, 1, 1)
    single, repeated = (float(_value(loss, *pair, "copies")) for pair in ((logits[:1], target[:1]), copies))
    doubt(
        abs(repeated) > 2 * abs(single) + 1e-6,
        f"an image costs {single:.4g}, a batch of 4 copies of it {repeated:.4g}: a sum instead of a mean, so that the "
        "learning rate that it needs depends on train.batch_size and train.micro_batch",
    )


def _check_overlap(loss: nn.Module, size: tuple[int, int], classes: int) -> None:
    """Two classes on one pixel can be predicted, unless the loss says that they never meet."""
    both = torch.zeros(2, classes, *size)
    both[:, :2] = 1.0
    alone = both.clone()
    alone[:, 1] = 0.0
    shares = []
    for target in (alone, both):
        right, wrong = (float(_value(loss, sign * (target - 0.5) * 20, target, "full masks")) for sign in (1, -1))
        shares.append(right / wrong if wrong > 0 else 0.0)
    doubt(
        shares[0] < 0.001 and shares[1] > 0.01,
        "it punishes two classes on one pixel even where both are right, as a softmax does, and the classes may "
        "overlap: say exclusive_only = True (docs/plugins.md), or judge each class by itself",
    )


def _compare(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor, name: str) -> None:
    """What backward says against what the loss does, along random directions."""
    point = logits.clone().requires_grad_(True)
    value = _value(loss, point, target, name)
    (gradient,) = torch.autograd.grad(value, point)
    for seed in range(3):
        direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
        direction /= direction.norm()
        analytic = float((gradient * direction).sum())
        slopes = [_slope(loss, logits, target, direction, step) for step in (0.5, 0.25)]
        noise = 4e-7 * max(1.0, abs(float(value.detach()))) / 0.25
        tolerance = 0.05 * max(abs(analytic), abs(slopes[1]), float(gradient.norm()) * 0.05)
        tolerance += 2 * abs(slopes[0] - slopes[1]) + noise
        expect(
            abs(analytic - slopes[1]) <= tolerance,
            f"{name}: the gradient is wrong: backward says {analytic:.4g} along a direction in which the loss changes "
            f"by {slopes[1]:.4g} for each unit",
        )


def _slope(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor, direction: torch.Tensor, step: float) -> float:
    with torch.no_grad():
        ahead, behind = (float(_value(loss, logits + sign * step * direction, target, "near by")) for sign in (1, -1))
    return (ahead - behind) / (2 * step)
