"""Augmentation policies, and the only place that knows albumentations.

A policy is called with one sample that already has the network's size, and with that sample's own generator: the
same sample and the same generator give the same result, whatever ran before and in whichever worker.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np

from gisegkit.errors import ComponentError
from gisegkit.types import Between

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks a server for the newest version

import albumentations
import cv2

if TYPE_CHECKING:
    from gisegkit.types import FloatArray, MaskArray

    Policy: TypeAlias = Callable[[FloatArray, MaskArray, np.random.Generator], tuple[FloatArray, MaskArray]]
    Steps: TypeAlias = Callable[[], Sequence[albumentations.BasicTransform | albumentations.BaseCompose]]


class AlbumentationsPolicy:
    """Albumentations steps whose every draw comes from the generator that is handed in."""

    def __init__(self, steps: Steps) -> None:
        """Build the steps, taking albumentations' warnings for what they are.

        Args:
            steps: makes the steps. Called here and once, because albumentations only warns about an argument that it
                does not know, and then leaves it out.

        Raises:
            ComponentError: if albumentations refuses an argument or warns about one.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                self._steps = albumentations.Compose(list(steps()), mask_interpolation=cv2.INTER_NEAREST)
        except (UserWarning, ValueError, TypeError) as error:
            raise ComponentError(
                f"albumentations {albumentations.__version__} does not take this policy as it is written: {error}"
            ) from error

    def __call__(self, image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """Augment one sample; the arrays handed in keep their values.

        Args:
            image: ``[H, W, C]`` float32, any number of channels.
            mask: ``[H, W, K]`` uint8 of 0, 1 and IGNORE.
            rng: the sample's own generator.

        Returns:
            The same pair, augmented, C-contiguous.
        """
        # One generator for all steps: set_random_seed would give every step the same draws, so that steps with the
        # same p would always come together.
        self._steps.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        result = self._steps(image=image, mask=mask)
        return np.ascontiguousarray(result["image"]), np.ascontiguousarray(result["mask"])


def none(*, size: tuple[int, int]) -> Policy:
    """No augmentation.

    Args:
        size: height and width of the samples in pixels.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair.
    """
    return _unchanged


def baseline(*, size: tuple[int, int], p: Annotated[float, Between(0, 1)] = 0.5) -> Policy:
    """The deck's baseline: a horizontal flip (its resizing is the recipe's [input]).

    Args:
        size: height and width of the samples in pixels.
        p: probability of the flip.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.
    """
    return AlbumentationsPolicy(lambda: [albumentations.HorizontalFlip(p=p)])


def _unchanged(image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)
