"""The contract of batch transforms: same sizes, weights that sum to 1, drawn from the generator, all moved together."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gisegkit.testing.alignment import misplaced, paint, shapes
from gisegkit.testing.expect import call, expect, form
from gisegkit.types import Batch


def check_batch_transform(
    transform: Any,
    *,
    size: tuple[int, int] = (32, 32),
    channels: int = 2,
    classes: int = 3,
    counts: Sequence[int] = (4, 1),
) -> None:
    """A batch transform keeps sizes, is a function of its generator, keeps weights that sum to 1, changes no input.

    Images and targets move together: shapes that are painted into both are still at one place afterwards.

    Args:
        transform: ``(Batch, rng)`` to ``Batch``.
        size: H and W in pixels.
        channels: C of the images.
        classes: K of the targets.
        counts: sizes of the batches that are tried.

    Raises:
        ContractError: at the first violation.
    """
    for count in counts:
        generator = torch.Generator().manual_seed(count)
        target = (torch.rand(count, classes, *size, generator=generator) < 0.4).float()
        target[:, :, :2] = math.nan
        images = torch.rand(count, channels, *size, generator=generator)
        batch = Batch(images, ((1.0, target),), torch.arange(count))
        for seed in (3, 4, 5):
            _check_once(transform, batch, seed)
        _check_together(transform, count, size, channels, classes)


def _check_once(transform: Any, batch: Batch, seed: int) -> None:
    kept = copy.deepcopy(batch)
    first, second = (_apply(transform, batch, seed) for _ in range(2))
    expect(_same(batch, kept), "it changes its input in place; make new tensors")
    expect(
        _same(first, second), "equal generators give two batches; draw from the generator rng that it is called with"
    )
    for name, made, given in [("images", first.images, batch.images), ("rows", first.rows, batch.rows)]:
        expect(
            isinstance(made, torch.Tensor) and made.shape == given.shape and made.dtype == given.dtype,
            f"{name} become {form(made)}; they must stay {form(given)}",
        )
    weight = sum(float(share) for share, _ in first.targets)
    expect(abs(weight - 1) < 1e-6, f"the weights of the targets sum to {weight:.6g}, not to 1")
    given = batch.targets[0][1]
    for _, mixed in first.targets:
        fits = isinstance(mixed, torch.Tensor) and mixed.shape == given.shape and mixed.dtype == given.dtype
        expect(fits, f"a target becomes {form(mixed)}; it must stay {form(given)}")
        inside = mixed[~mixed.isnan()]
        expect(bool(((inside >= 0) & (inside <= 1)).all()), "a target leaves [0, 1]")


def _check_together(transform: Any, count: int, size: tuple[int, int], channels: int, classes: int) -> None:
    for seed in range(6):
        painted = np.stack([shapes(size, 10 * seed + number) for number in range(count)])
        images = torch.from_numpy(paint(painted))[:, None].repeat(1, channels, 1, 1)
        target = torch.from_numpy(painted).float()[:, None].repeat(1, classes, 1, 1)
        result = _apply(transform, Batch(images, ((1.0, target),), torch.arange(count)), seed)
        mixed = sum((share * values.nan_to_num(0.0) for share, values in result.targets), torch.zeros_like(target))
        for number in range(count):
            words = misplaced(result.images[number].mean(0).numpy(), mixed[number, 0].numpy())
            expect(not words, f"images and targets do not move together: {words}")


def _apply(transform: Any, batch: Batch, seed: int) -> Batch:
    result = call(f"images {list(batch.images.shape)}", transform, batch, np.random.default_rng(seed))
    expect(isinstance(result, Batch), f"it returns {form(result)}; a batch transform returns a gisegkit.Batch")
    return result  # type: ignore[no-any-return]


def _same(a: Batch, b: Batch) -> bool:
    return (
        len(a.targets) == len(b.targets)
        and torch.equal(a.images.nan_to_num(-1), b.images.nan_to_num(-1))
        and all(
            x == y and torch.equal(s.nan_to_num(-1), t.nan_to_num(-1))
            for (x, s), (y, t) in zip(a.targets, b.targets, strict=True)
        )
    )
