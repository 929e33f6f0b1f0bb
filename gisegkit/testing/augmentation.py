"""The contract of augmentation policies: same size and types, drawn from the generator, image and mask together."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gisegkit.errors import in_short
from gisegkit.testing.alignment import misplaced, paint, shapes
from gisegkit.testing.expect import call, doubt, expect, few, form
from gisegkit.types import IGNORE, AnyArray

DRAWS = 8
"""How often a policy is asked; what it does with a probability of a half is then missed once in 256 times."""


def check_augmentation(
    build: Callable[..., Any],
    *,
    size: tuple[int, int] = (48, 64),
    channels: int | Sequence[int] = (1, 3, 5),
    classes: int = 3,
) -> None:
    """A policy keeps size and types, is a function of its generator, leaves masks masks and its input alone.

    Image and mask move together: shapes that are painted into both are still at one place afterwards.

    Args:
        build: called as ``build(size=(H, W))``.
        size: H and W in pixels.
        channels: C of the images that are tried.
        classes: K of the masks.

    Raises:
        ContractError: at the first violation.
    """
    policy = call(f"size = {size}", build, size=size)
    try:
        policy = pickle.loads(pickle.dumps(policy))
    except Exception as error:
        doubt(True, f"it cannot be pickled ({in_short(error)}), so worker processes that are not forked cannot use it")
    counts = [channels] if isinstance(channels, int) else channels
    for count in counts:
        _check_once(policy, size, count, classes)
    _check_together(policy, size, counts[0], classes)


def _check_once(policy: Any, size: tuple[int, int], channels: int, classes: int) -> None:
    rng = np.random.default_rng(channels)
    image = rng.random((*size, channels), dtype=np.float32)
    mask = (rng.random((*size, classes)) < 0.5).astype(np.uint8)
    mask[:4, :4] = IGNORE
    for seed in range(7, 7 + DRAWS // 2):
        kept = image.copy(), mask.copy()
        first, second = (_apply(policy, image, mask, seed) for _ in range(2))
        changed = [name for name, a, b in zip(("image", "mask"), (image, mask), kept, strict=True) if not _same(a, b)]
        expect(not changed, f"it changes its input {' and '.join(changed)} in place; copy it first")
        repeats = all(_same(a, b) for a, b in zip(first, second, strict=True))
        expect(repeats, "equal generators give two results; draw from the generator rng that it is called with, alone")
        pairs: list[tuple[str, AnyArray, Any]] = [("image", image, first[0]), ("mask", mask, first[1])]
        for name, given, made in pairs:
            expect(
                isinstance(made, np.ndarray) and made.dtype == given.dtype,
                f"the {name} becomes {form(made)}; its type must stay {given.dtype}",
            )
            expect(made.shape == given.shape, f"the {name} becomes {form(made)}; it must stay {form(given)}")
        values = set(np.unique(first[1]).tolist())
        expect(
            values <= {0, 1, IGNORE},
            f"the mask has values {few(values)}, and 0, 1 and {IGNORE} alone mean something; resample masks with the "
            "nearest pixel",
        )


def _check_together(policy: Any, size: tuple[int, int], channels: int, classes: int) -> None:
    for seed in range(DRAWS):
        painted = shapes(size, seed)
        image = np.repeat(paint(painted)[:, :, None], channels, axis=2)
        mask = np.repeat(painted.astype(np.uint8)[:, :, None], classes, axis=2)
        moved, masks = _apply(policy, image, mask, seed)
        counts = masks[..., 0] != IGNORE
        picture = np.where(counts, moved.mean(axis=2), moved.mean())
        words = misplaced(picture, np.where(counts, masks[..., 0], 0).astype(np.float64))
        expect(not words, f"image and mask do not move together: {words}")
        doubt(
            _same(moved, image) and bool((masks != mask)[masks != IGNORE].any()),
            "it changes the mask where it leaves the image as it is",
        )


def _apply(policy: Any, image: AnyArray, mask: AnyArray, seed: int) -> tuple[Any, Any]:
    what = f"image {form(image)}, mask {form(mask)}"
    result = call(what, policy, image, mask, np.random.default_rng(seed))
    pair = isinstance(result, tuple | list) and len(result) == 2
    expect(pair, f"it returns {form(result)}; a policy returns the pair (image, mask)")
    return result[0], result[1]


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))
