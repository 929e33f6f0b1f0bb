"""The deck's three augmentation policies, each with the meaning that it had under albumentations 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np

from gisegkit.components.augmentation.warp_draws import Draws, Field, WarpSettings, blurred_waves
from gisegkit.types import Between

if TYPE_CHECKING:
    from gisegkit.components.augmentation.none import Policy
    from gisegkit.types import AnyArray, FloatArray, MaskArray

CHUNK = 4
"""Channels that OpenCV moves at once."""

FAR = 8
"""How many sides off a position may lie before the reflections are taken off it; OpenCV takes them off one by one."""


class WarpPolicy(WarpSettings):
    """Flip, shift-scale-rotate and a distortion as one map, by which image and mask are sampled once; then holes.

    Attributes:
        record: whether ``drawn`` is filled; ``giseg show`` sets it.
        drawn: what the last call did, a line for each step that was applied.
    """

    record = False
    drawn: Sequence[str] = ()

    def __call__(self, image: FloatArray, mask: MaskArray, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """As ``AlbumentationsPolicy``, but there is no image that it cannot work on."""
        size = (image.shape[0], image.shape[1])
        draws = Draws(self, size, 1, rng)
        if self.record:
            self.drawn = draws.words()[0]
        if draws.similarity[0] or draws.grid[0] or draws.elastic[0]:
            map_x, map_y = full_maps(draws.field(), self.sigma)
            if draws.elastic[0]:  # nothing else goes far; three points that almost lie on a line do
                map_x, map_y = nearby(map_x, size[1]), nearby(map_y, size[0])
            image, mask = move(image, map_x, map_y, cv2.INTER_LINEAR), move(mask, map_x, map_y, cv2.INTER_NEAREST)
        elif draws.flip[0]:
            image, mask = mirror(image), mirror(mask)
        elif draws.dropout[0]:
            image, mask = image.copy(), mask.copy()
        if draws.dropout[0]:
            height, width = draws.hole_size()
            for top, left in draws.holes()[0, : draws.hole_count[0]]:
                image[top : top + height, left : left + width] = 0
                mask[top : top + height, left : left + width] = 0
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def mirror(values: AnyArray) -> AnyArray:
    """``[H, W, C]``, left and right exchanged; OpenCV does it many times faster than numpy."""
    flipped: AnyArray = cv2.flip(values, 1).reshape(values.shape)  # it leaves a single channel out
    return flipped


def full_maps(field: Field, sigma: float) -> tuple[FloatArray, FloatArray]:
    """The columns and the rows ``[H, W]`` that the pixels of a field's first sample come from."""
    maps = field.columns[0, :, None, :] + field.rows[0, :, :, None]  # [2, H, W]
    if len(field.waves):
        height, width = maps.shape[1:]
        maps += blurred_waves(height, sigma) @ field.waves[0] @ blurred_waves(width, sigma).T
    return maps[0], maps[1]


def nearby(positions: FloatArray, length: int) -> FloatArray:
    """Positions along an axis of ``length`` pixels; in the place of far ones, near ones that show the same pixel."""
    if -FAR * length <= positions.min() and positions.max() <= FAR * length:
        return positions
    period = max(1, 2 * (length - 1))  # a single pixel is shown everywhere
    return np.where(np.abs(positions) > FAR * length, np.mod(positions, np.float32(period)), positions)


def move(values: AnyArray, map_x: AnyArray, map_y: AnyArray, interpolation: int) -> AnyArray:
    """``[H, W, C]`` sampled at the maps' positions, the border reflected, any number of channels."""
    parts = [
        cv2.remap(values[..., start : start + CHUNK], map_x, map_y, interpolation, borderMode=cv2.BORDER_REFLECT_101)
        for start in range(0, values.shape[2], CHUNK)
    ]
    shaped = [part.reshape(*values.shape[:2], -1) for part in parts]
    return shaped[0] if len(shaped) == 1 else np.concatenate(shaped, axis=2)


def baseline(*, size: tuple[int, int], p: Annotated[float, Between(0, 1)] = 0.5) -> Policy:
    """The deck's baseline: a horizontal flip (its resizing is the recipe's [input]).

    Args:
        size: height and width of the samples in pixels.
        p: probability of the flip.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.
    """
    return WarpPolicy(flip_p=p, shift_scale_rotate_p=0, distort_p=0)


def initial(
    *,
    size: tuple[int, int],
    flip_p: Annotated[float, Between(0, 1)] = 0.5,
    shift_scale_rotate_p: Annotated[float, Between(0, 1)] = 0.5,
    distort_p: Annotated[float, Between(0, 1)] = 0.25,
) -> Policy:
    """The deck's initial policy: baseline, then shift, scale and rotation, then a grid or an elastic distortion.

    Shifts of up to 1/16 of the side, scales from 0.95 to 1.05, up to 10 degrees. One of: 5 x 5 cells changed by up to
    5 %; or an affine map that moves three points by up to 50 pixels, and a displacement of sigma 50 (alpha 1).
    All are one map of positions, by which image and mask are sampled once; the border is reflected.

    Args:
        size: height and width of the samples in pixels.
        flip_p: probability of the flip.
        shift_scale_rotate_p: probability of shift, scale and rotation, which come together.
        distort_p: probability of a distortion, grid and elastic alike; 0.25 is that of the notebook which the deck
            started from, the deck gives none.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.
    """
    return WarpPolicy(flip_p=flip_p, shift_scale_rotate_p=shift_scale_rotate_p, distort_p=distort_p)


def final(
    *,
    size: tuple[int, int],
    flip_p: Annotated[float, Between(0, 1)] = 0.5,
    shift_scale_rotate_p: Annotated[float, Between(0, 1)] = 0.5,
    distort_p: Annotated[float, Between(0, 1)] = 0.25,
    cutout_p: Annotated[float, Between(0, 1)] = 0.5,
) -> Policy:
    """The deck's final policy: initial, then 5 to 8 holes of a 20th of the side, black and without any class.

    Args:
        size: height and width of the samples in pixels.
        flip_p: probability of the flip.
        shift_scale_rotate_p: probability of shift, scale and rotation, which come together.
        distort_p: probability of a distortion, grid and elastic alike.
        cutout_p: probability of the holes.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.
    """
    return WarpPolicy(flip_p=flip_p, shift_scale_rotate_p=shift_scale_rotate_p, distort_p=distort_p, cutout_p=cutout_p)
