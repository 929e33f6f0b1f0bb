"""Contract checks, one a kind: gisegkit runs them over every built-in, plugin authors call the same functions.

Each raises ContractError, an AssertionError, with what was expected and what came. In a plugin's tests::

    from gisegkit.testing import check_loss

    def test_edge_bce():
        check_loss(EdgeBCE(width=3))
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gisegkit.data.spacing import spacing_for
from gisegkit.types import COLUMNS, IGNORE, SPACING, Batch, Dataset, EpochReport, Metric


class ContractError(AssertionError):
    """A component breaks the contract of its kind."""


def expect(condition: bool, message: str) -> None:
    """Raise ContractError with the message unless the condition holds."""
    if not condition:
        raise ContractError(message)


# --- losses ---------------------------------------------------------------------------------------------------------


def check_loss(loss: nn.Module, *, classes: int = 3) -> None:
    """A loss is a finite scalar with a right, finite gradient, on ordinary, empty, full, soft and half-precision input.

    The gradient is compared with central differences along random directions, so that a wrong ``backward`` is found
    before anything is trained.

    Args:
        loss: ``(logits, target)``, both ``[B, K, H, W]``, to a scalar.
        classes: K of the inputs.

    Raises:
        ContractError: at the first violation.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 16, 16, generator=generator)
    hard = (torch.rand(2, classes, 16, 16, generator=generator) < 0.3).float()
    cases = {
        "ordinary masks": hard,
        "soft targets": torch.rand(2, classes, 16, 16, generator=generator),
        "empty masks": torch.zeros_like(hard),
        "full masks": torch.ones_like(hard),
        "one class empty": hard * torch.tensor([0.0] + [1.0] * (classes - 1)).view(1, -1, 1, 1),
    }
    for name, target in cases.items():
        _check_gradient(loss, logits, target, name)
    for dtype in (torch.bfloat16, torch.float16):
        value = loss(logits.to(dtype), hard)
        expect(bool(torch.isfinite(value)), f"the loss of {dtype} logits is {float(value)}")
    for value in (right := loss((hard - 0.5) * 20, hard), wrong := loss((0.5 - hard) * 20, hard)):
        expect(bool(torch.isfinite(value)), f"the loss of confident logits (10 and -10) is {float(value)}")
    expect(float(right) < float(wrong), f"a right prediction costs {float(right):.4g}, the opposite {float(wrong):.4g}")


def _check_gradient(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor, name: str) -> None:
    point = logits.clone().requires_grad_(True)
    before = target.clone()
    value = loss(point, target)
    expect(isinstance(value, torch.Tensor) and value.ndim == 0, f"{name}: the loss is no scalar but {_shape(value)}")
    expect(bool(torch.isfinite(value)), f"{name}: the loss is {float(value.detach())}")
    expect(torch.equal(before, target), f"{name}: the loss changes its target in place")
    expect(value.requires_grad, f"{name}: the loss has no gradient; compute it from the logits with torch")
    (gradient,) = torch.autograd.grad(value, point, allow_unused=True)
    expect(gradient is not None and bool(torch.isfinite(gradient).all()), f"{name}: the gradient is not finite")
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
        ahead, behind = (float(loss(logits + sign * step * direction, target)) for sign in (1, -1))
    return (ahead - behind) / (2 * step)


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__


# --- models ---------------------------------------------------------------------------------------------------------


def check_model(build: Callable[..., nn.Module], *, size: tuple[int, int] = (64, 64)) -> None:
    """A model maps ``[B, C, H, W]`` to finite logits ``[B, K, H, W]``, trains, and evaluates deterministically.

    Args:
        build: called as ``build(in_channels=C, classes=K)``.
        size: H and W in pixels.

    Raises:
        ContractError: at the first violation.
    """
    for channels, classes in ((1, 3), (5, 1)):
        model = build(in_channels=channels, classes=classes)
        images = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))
        logits = model.train()(images)
        expect(logits.shape == (2, classes, *size), f"logits of {_shape(images)}, {classes} classes: {_shape(logits)}")
        logits.square().mean().backward()
        reached = [parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad]
        expect(any(reached), "no parameter receives a gradient")
        with torch.no_grad():
            first, second = model.eval()(images), model(images)
        expect(bool(torch.isfinite(first).all()), "logits are not finite")
        expect(torch.equal(first, second), "in evaluation mode the same input gives two outputs")
        twin = build(in_channels=channels, classes=classes)
        twin.load_state_dict(model.state_dict())
        with torch.no_grad():
            expect(torch.equal(first, twin.eval()(images)), "the state dict does not restore the model")


# --- augmentation and batch transforms ------------------------------------------------------------------------------


def check_augmentation(build: Callable[..., Any]) -> None:
    """A policy keeps size and types, is a function of its generator, leaves masks masks and its input alone.

    Args:
        build: called as ``build(size=(H, W))``.

    Raises:
        ContractError: at the first violation.
    """
    size = (48, 64)
    policy = pickle.loads(pickle.dumps(build(size=size)))
    for channels in (1, 3, 5):
        rng = np.random.default_rng(channels)
        image = rng.random((*size, channels), dtype=np.float32)
        mask = (rng.random((*size, 3)) < 0.5).astype(np.uint8)
        mask[:4, :4] = IGNORE
        kept = image.copy(), mask.copy()
        first = policy(image, mask, np.random.default_rng(7))
        second = policy(image, mask, np.random.default_rng(7))
        repeats = all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        expect(repeats, "equal generators give two results")
        expect(np.array_equal(image, kept[0]) and np.array_equal(mask, kept[1]), "it changes its input in place")
        expect(first[0].shape == image.shape and first[0].dtype == image.dtype, f"image becomes {first[0].shape}")
        expect(first[1].shape == mask.shape and first[1].dtype == mask.dtype, f"mask becomes {first[1].shape}")
        values = set(np.unique(first[1]).tolist())
        expect(values <= {0, 1, IGNORE}, f"the mask has values {sorted(values)}")


def check_batch_transform(transform: Any) -> None:
    """A batch transform keeps sizes, is a function of its generator, keeps weights that sum to 1, changes no input.

    Raises:
        ContractError: at the first violation.
    """
    for count in (4, 1):
        generator = torch.Generator().manual_seed(count)
        target = (torch.rand(count, 3, 32, 32, generator=generator) < 0.4).float()
        target[:, :, :2] = math.nan
        batch = Batch(torch.rand(count, 2, 32, 32, generator=generator), ((1.0, target),), torch.arange(count))
        kept = copy.deepcopy(batch)
        first, second = transform(batch, np.random.default_rng(3)), transform(batch, np.random.default_rng(3))
        expect(_same(first, second), "equal generators give two batches")
        expect(_same(batch, kept), "it changes its input in place")
        expect(first.images.shape == batch.images.shape, f"images become {_shape(first.images)}")
        weight = sum(float(share) for share, _ in first.targets)
        expect(abs(weight - 1) < 1e-6, f"the weights of the targets sum to {weight}")
        for _, mixed in first.targets:
            expect(mixed.shape == target.shape, f"a target becomes {_shape(mixed)}")
            inside = mixed[~mixed.isnan()]
            expect(bool(((inside >= 0) & (inside <= 1)).all()), "a target leaves [0, 1]")


def _same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.images, b.images) and all(
        x == y and torch.equal(s.nan_to_num(-1), t.nan_to_num(-1))
        for (x, s), (y, t) in zip(a.targets, b.targets, strict=True)
    )


# --- the other kinds ------------------------------------------------------------------------------------------------


def check_optimizer(build: Callable[..., torch.optim.Optimizer]) -> None:
    """An optimizer lowers a quadratic. ``build`` is called as ``build(params=...)``."""
    parameter = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = build(params=[parameter])
    start = float(parameter.detach().square().sum())
    for _ in range(20):
        optimizer.zero_grad()
        parameter.square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    end = float(parameter.detach().square().sum())
    expect(end < start, f"20 steps on x² lead from {start} to {end}")


def check_schedule(build: Callable[..., Any]) -> None:
    """A schedule gives finite rates of 0 or more, and resumes. ``build`` is called as ``build(optimizer=, steps=)``."""
    for steps in (1, 7, 50):
        rates, resumed = _rates(build, steps, stop=None), _rates(build, steps, stop=steps // 2)
        expect(all(math.isfinite(rate) and rate >= 0 for rate in rates), f"learning rates {rates}")
        expect(rates == resumed, "a schedule restored from its state dict goes on with other rates")


def _rates(build: Callable[..., Any], steps: int, stop: int | None) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = build(optimizer=optimizer, steps=steps)
    rates = []
    for step in range(steps):
        if step == stop:
            states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
            optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
            schedule = build(optimizer=optimizer, steps=steps)
            optimizer.load_state_dict(states[0])
            schedule.load_state_dict(states[1])
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def check_metric(metric: Metric) -> None:
    """A metric gives a value a slice or scan and class, the same whenever asked, prefers the truth, knows empty masks.

    Raises:
        ContractError: at the first violation.
    """
    spacing: Any = spacing_for("checked", metric, dict.fromkeys(SPACING, 1.5), place="check")
    truth = np.random.default_rng(0).random((4, 20, 24, 3)) < 0.3
    empty = np.zeros_like(truth)
    pairs = [(truth, truth), (~truth, truth), (empty, truth), (truth, empty), (empty, empty)]
    found = [metric(prediction, reference, **spacing) for prediction, reference in pairs]
    expect(all(found), "no part")
    for name, values in (item for parts in found for item in parts.items()):
        expect(values.shape in ((4, 3), (3,)), f"part {name} has shape {values.shape}, not [D, K] or [K]")
        expect(not np.isinf(values).any(), f"part {name} is infinite")
    with ThreadPoolExecutor(4) as pool:
        for before, after in zip(found * 4, pool.map(lambda pair: metric(*pair, **spacing), pairs * 4), strict=True):
            same = all(np.array_equal(values, after[name], equal_nan=True) for name, values in before.items())
            expect(same, "asked again, by several threads at once, it gives other values")
    best, worst = (metric.combine({key: float(np.nanmean(v)) for key, v in parts.items()}) for parts in found[:2])
    better = best > worst if metric.higher_is_better else best < worst
    expect(better, f"the truth scores {best}, its opposite {worst}; is higher_is_better right?")
    expect(bool(metric.convention) and "\n" not in metric.convention, "convention must be one line of text")


def check_postprocess(step: Any) -> None:
    """A post-processing step keeps shape and type, also of an empty scan, and changes no input.

    Raises:
        ContractError: at the first violation.
    """
    expect(step.stage in ("probabilities", "masks"), f"stage is {step.stage!r}, not 'probabilities' or 'masks'")
    random = np.random.default_rng(0).random((3, 20, 24, 2), dtype=np.float32)
    for values in (random, np.zeros_like(random)):
        volume = values >= 0.5 if step.stage == "masks" else values
        kept = volume.copy()
        result = step(volume)
        expect(result.shape == volume.shape and result.dtype == volume.dtype, f"{volume.shape} becomes {result.shape}")
        expect(np.array_equal(volume, kept), "it changes its input in place")


def check_tracker(build: Callable[..., Any], folder: Path) -> None:
    """A tracker takes reports, also with undefined scores, and a summary. Called as ``build(folder=...)``."""
    folder.mkdir(parents=True, exist_ok=True)
    tracker = build(folder=str(folder))
    for epoch in (1, 2):
        scores: Mapping[str, float] = {"dice": math.nan if epoch == 1 else 0.5}
        tracker.report(EpochReport(epoch, 2, 0.7, scores, scores["dice"], epoch == 2, 1e-3, 1.0, 10.0, 0, {}))
    tracker.finish({"name": "check", "demo": False})


def check_dataset(dataset: Dataset) -> None:
    """A dataset's table has the columns of the contract, and its readers give what the table says.

    Raises:
        ContractError: at the first violation.
    """
    table = dataset.table
    missing = [column for column in COLUMNS if column not in table.columns]
    expect(not missing, f"the table lacks {missing}")
    expect(bool(table["id"].is_unique), "ids are not unique")
    expect(table.index.tolist() == list(range(len(table))), "the index is not 0 to N-1")
    order = table.sort_values(["volume", "position"], kind="stable").index.tolist()
    expect(order == table.index.tolist(), "the table is not sorted by volume and position")
    dataset = pickle.loads(pickle.dumps(dataset))
    for row in np.unique(np.linspace(0, len(table) - 1, 8).astype(int)):
        entry = table.iloc[row]
        image = dataset.image(int(row))
        expect(image.shape[:2] == (entry["height"], entry["width"]), f"image of {entry['id']} is {image.shape}")
        if entry["labelled"]:
            mask = dataset.mask(int(row))
            expected = (entry["height"], entry["width"], len(dataset.classes))
            fits = mask.shape == expected and mask.dtype == np.uint8
            expect(fits, f"mask of {entry['id']}: {mask.shape} {mask.dtype}")
            expect(set(np.unique(mask).tolist()) <= {0, 1, IGNORE}, f"mask of {entry['id']} has other values")
            expect(bool(entry["empty"]) == (not (mask == 1).any()), f"'empty' of {entry['id']} is wrong")
            expect(not dataset.exclusive or bool(((mask == 1).sum(axis=2) <= 1).all()), f"{entry['id']} overlaps")
