"""The policy ``none``, and what a policy is: nothing of this file needs albumentations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from gisegkit.types import FloatArray, MaskArray

    Policy: TypeAlias = Callable[[FloatArray, MaskArray, np.random.Generator], tuple[FloatArray, MaskArray]]


def none(*, size: tuple[int, int]) -> Policy:
    """No augmentation.

    Args:
        size: height and width of the samples in pixels.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair.
    """
    return _unchanged


def _unchanged(image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


_unchanged.changes_nothing = True  # type: ignore[attr-defined]
