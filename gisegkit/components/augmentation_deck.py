"""The deck's three augmentation policies, each with the meaning that it had under albumentations 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import albumentations

from gisegkit.components.augmentation import AlbumentationsPolicy
from gisegkit.components.warps import ElasticTransform, GridDistortion, ShiftScaleRotate
from gisegkit.types import Between

if TYPE_CHECKING:
    from gisegkit.components.augmentation import Policy

HOLE = 20
"""The share of the image's side that a hole takes is one in so many."""


def baseline(*, size: tuple[int, int], p: Annotated[float, Between(0, 1)] = 0.5) -> Policy:
    """The deck's baseline: a horizontal flip (its resizing is the recipe's [input]).

    Args:
        size: height and width of the samples in pixels.
        p: probability of the flip.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.
    """
    return AlbumentationsPolicy(lambda: [albumentations.HorizontalFlip(p=p)])


def initial(
    *,
    size: tuple[int, int],
    flip: Annotated[float, Between(0, 1)] = 0.5,
    shift_scale_rotate: Annotated[float, Between(0, 1)] = 0.5,
    distort: Annotated[float, Between(0, 1)] = 0.25,
) -> Policy:
    """The deck's initial policy: baseline, then shift, scale and rotation, then a grid or an elastic distortion.

    Shifts of up to 1/16 of the side, scales from 0.95 to 1.05, up to 10 degrees. One of: 5 x 5 cells changed by up to
    5 %; or an affine map that moves three points by up to 50 pixels, and a displacement of sigma 50 (alpha 1).
    Borders are reflected.

    Args:
        size: height and width of the samples in pixels.
        flip: probability of the flip.
        shift_scale_rotate: probability of shift, scale and rotation, which come together.
        distort: probability of a distortion, grid and elastic alike; 0.25 is that of the notebook which the deck
            started from, the deck gives none.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.
    """
    return AlbumentationsPolicy(lambda: _initial(flip, shift_scale_rotate, distort))


def final(
    *,
    size: tuple[int, int],
    flip: Annotated[float, Between(0, 1)] = 0.5,
    shift_scale_rotate: Annotated[float, Between(0, 1)] = 0.5,
    distort: Annotated[float, Between(0, 1)] = 0.25,
    dropout: Annotated[float, Between(0, 1)] = 0.5,
) -> Policy:
    """The deck's final policy: initial, then 5 to 8 holes of a 20th of the side, black and without any class.

    Args:
        size: height and width of the samples in pixels.
        flip: probability of the flip.
        shift_scale_rotate: probability of shift, scale and rotation, which come together.
        distort: probability of a distortion, grid and elastic alike.
        dropout: probability of the holes.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.
    """
    height, width = (max(1, side // HOLE) for side in size)
    holes = {"num_holes_range": (5, 8), "hole_height_range": (height, height), "hole_width_range": (width, width)}
    return AlbumentationsPolicy(
        lambda: [
            *_initial(flip, shift_scale_rotate, distort),
            albumentations.CoarseDropout(**holes, fill=0, fill_mask=0, p=dropout),
        ]
    )


def _initial(
    flip: float, shift_scale_rotate: float, distort: float
) -> list[albumentations.BasicTransform | albumentations.BaseCompose]:
    return [
        albumentations.HorizontalFlip(p=flip),
        ShiftScaleRotate(shift=0.0625, scale=0.05, rotate=10, p=shift_scale_rotate),
        albumentations.OneOf(
            [
                GridDistortion(num_steps=5, distort_limit=0.05, p=1),
                ElasticTransform(alpha=1, sigma=50, alpha_affine=50, p=1),
            ],
            p=distort,
        ),
    ]
