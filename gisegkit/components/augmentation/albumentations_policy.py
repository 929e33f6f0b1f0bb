"""Augmentation policies made of albumentations' steps, every draw of which comes from the sample's own generator.

A policy is called with one sample that already has the network's size, and with that sample's own generator: the
same sample and the same generator give the same result, whatever ran before and in whichever worker.
"""

from __future__ import annotations

import copy
import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gisegkit.errors import ComponentError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks a server for the newest version

import albumentations
import cv2

if TYPE_CHECKING:
    from gisegkit.types import FloatArray, MaskArray

    Steps: TypeAlias = Callable[[], Sequence[albumentations.BasicTransform | albumentations.BaseCompose]]

NOT_DRAWN = ("shape", "cols", "rows", "interpolation", "mask_interpolation", "fill", "fill_mask", "border_mode", "seed")
"""Parameters of a step that tell nothing about the sample."""


class AlbumentationsPolicy:
    """Albumentations steps whose every draw comes from the generator that is handed in.

    Attributes:
        record: whether ``drawn`` is filled; ``giseg show`` sets it.
        drawn: what the last call did, a line for each step that was applied.
    """

    def __init__(self, steps: Steps) -> None:
        """Build the steps, taking albumentations' warnings for what they are.

        Args:
            steps: makes the steps. Called here and once, because albumentations only warns about an argument that it
                does not know, and then leaves it out.

        Raises:
            ComponentError: if albumentations refuses an argument or warns about one.
        """
        self.record = False
        self.drawn: list[str] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                self._steps = albumentations.Compose(
                    list(steps()), mask_interpolation=cv2.INTER_NEAREST, save_applied_params=True
                )
        except (UserWarning, ValueError, TypeError) as error:
            raise ComponentError(
                f"albumentations {albumentations.__version__} does not take this policy as it is written: {error}"
            ) from error

    @property
    def range(self) -> tuple[float, float] | None:
        """The range that images must keep, because a step clips to it; None if no step does."""
        return (0.0, 1.0) if self.clipping else None

    @cached_property
    def clipping(self) -> tuple[str, ...]:
        """The steps that clip to 0 to 1, or fail beyond, found by trying each with values from -2 to 3."""
        return tuple(dict.fromkeys(_clipping(self._steps.transforms)))

    def __call__(self, image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """Augment one sample; the arrays handed in keep their values.

        Args:
            image: ``[H, W, C]`` float32, any number of channels.
            mask: ``[H, W, K]`` uint8 of 0, 1 and IGNORE.
            rng: the sample's own generator.

        Returns:
            The same pair, augmented, C-contiguous.

        Raises:
            ComponentError: if a step cannot work on such an image.
        """
        # One generator for all steps: set_random_seed would give every step the same draws, so that steps with the
        # same p would always come together.
        self._steps.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # a parameter that such an image makes it leave out
                result = self._steps(image=image, mask=mask)
        except Exception as error:  # each transform raises what it happens to meet
            cause = str(error).strip().split("\n", 1)[0]
            raise ComponentError(
                f"augmentation: a step does not work on an image of {image.shape[2]} channels in float32: {cause}"
            ) from error
        if result["image"].shape != image.shape or result["mask"].shape != mask.shape:
            raise ComponentError(
                f"augmentation: a step changes the size, {image.shape[:2]} to {result['image'].shape[:2]}; the size is "
                "the recipe's [input] size, so leave out steps that crop, pad or resize to another one"
            )
        if result["image"].dtype != image.dtype or result["mask"].dtype != mask.dtype:
            raise ComponentError(
                f"augmentation: a step turns float32 images into {result['image'].dtype} or masks into "
                f"{result['mask'].dtype}; leave it out"
            )
        if self.record:
            self.drawn = [in_words(name, params) for name, params in result["applied_transforms"]]
        return np.ascontiguousarray(result["image"]), np.ascontiguousarray(result["mask"])


def _clipping(steps: Iterable[Any]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, albumentations.BaseCompose):
            yield from _clipping(step.transforms)
            continue
        always = copy.deepcopy(step)
        always.p = 1.0
        if not any(_keeps_beyond(always, channels) for channels in (1, 3)):
            yield type(step).__name__


def _keeps_beyond(step: Any, channels: int) -> bool:
    """Whether values beyond 0 to 1 survive a step."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(-2, 3, 64)[:, None]  # smooth, so that blurring it leaves no range
    image = np.repeat((ramp + rng.uniform(-0.1, 0.1, (64, 64)))[:, :, None], channels, axis=2).astype(np.float32)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            policy = albumentations.Compose([step], mask_interpolation=cv2.INTER_NEAREST)
            policy.set_random_state(rng, random.Random(0))
            result = policy(image=image, mask=np.zeros((64, 64, 1), np.uint8))["image"]
    except Exception:  # each transform raises what it happens to meet
        return False
    return bool(np.isfinite(result).all() and result.min() < 0 and result.max() > 1)


def in_words(name: str, params: dict[str, Any]) -> str:
    """A step with the numbers that it drew: ``Rotate: angle 4.1``."""
    words = [text for key, value in params.items() if key not in NOT_DRAWN and (text := _number(key, value))]
    return f"{name}: {', '.join(words)}" if words else name


def _number(key: str, value: Any) -> str:
    """A parameter as words, or an empty text for what is too long to read, such as a map of displacements."""
    label = key.replace("_", " ")
    if isinstance(value, dict):
        return ", ".join(filter(None, (_number(f"{key} {inner}", item) for inner, item in value.items())))
    if isinstance(value, bool | np.bool_ | str):
        return f"{label} {value}"
    if isinstance(value, int | float | np.number):
        name, pixels, _ = label.partition(" px")
        return f"{name} {float(value):.3g}{pixels}"
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 4 and key == "holes":
        return f"{len(value)} holes"
    return ""
