"""Masks as lines on a slice: the colours of the classes, outlines solid and dashed, hatching, grey values for the eye.

What the preview and the picture of a batch have in common; sizes are those of the picture, in its pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from gisegkit.report.drawing import INK, Color, Item, blank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gisegkit.types import AnyArray, BoolArray

    Picture = NDArray[np.uint8]
    Points = NDArray[np.int32]

PALETTE: tuple[Color, ...] = (
    (86, 180, 233),
    (255, 110, 40),
    (240, 228, 66),
    (226, 130, 190),
    (0, 190, 140),
    (255, 255, 255),
    (80, 130, 255),
    (230, 170, 0),
    (170, 110, 230),
    (150, 220, 90),
)
"""One colour a class, in the order of the classes: Okabe and Ito's colours for every kind of colour vision, lightened
where they would drown in grey tissue, and three more. A further class starts again at the first."""

DASH, GAP = 6, 7
THICK = 2
"""OpenCV's lines of this thickness are 3 pixels wide, with the path in the middle."""


def color_of(index: int) -> Color:
    """The colour of the class with this index."""
    return PALETTE[index % len(PALETTE)]


def black_and_white(values: AnyArray) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile of the finite values; the extremes where those are equal."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 0.0)
    if high <= low and finite.size:
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def stretch(image: AnyArray, limits: tuple[float, float] | None = None) -> Picture:
    """An image for the eye: ``[H, W]``, ``[H, W, 3]`` (RGB), or the first of C channels, to ``[H, W, 3]`` uint8.

    Args:
        image: any depth; values that are not finite become black or white.
        limits: the values that become black and white; without them the image's own.
    """
    if image.ndim == 3 and image.shape[2] != 3:
        image = image[..., 0]
    values = image.astype(np.float32)
    low, high = limits or black_and_white(values)
    scaled = np.nan_to_num((values - low) / max(high - low, 1e-12), nan=0.0, posinf=1.0, neginf=0.0)
    grey = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def enlarge(mask: AnyArray, size: tuple[int, int]) -> AnyArray:
    """``[H, W, K]`` to ``[h, w, K]``: each pixel takes the value below its centre, as the slice's own resizing does."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(size, mask.shape[:2], strict=True)
    )
    enlarged: AnyArray = mask[rows[:, None], columns[None, :]]
    return enlarged


def borders(masks: BoolArray) -> list[list[Points]]:
    """The outermost pixels of each class's regions and holes, as closed paths; masks ``[h, w, K]``."""
    paths = []
    for index in range(masks.shape[-1]):
        mask = np.ascontiguousarray(masks[..., index], dtype=np.uint8)
        found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        paths.append([np.asarray(path, dtype=np.int32) for path in found])
    return paths


def dashes(border: list[Points], dash: int = DASH, gap: int = GAP) -> list[Points]:
    """The paths cut into dashes, lengths in pixels."""
    return [path[start : start + dash] for path in border for start in range(0, len(path), dash + gap)]


def hatch(picture: Picture, where: BoolArray) -> None:
    """Draw diagonal lines over part of a picture, in place."""
    rows, columns = np.indices(where.shape)
    stripes = where & ((rows + columns) % 8 < 2)
    picture[stripes] = picture[stripes] // 2 + 90


# --- what the legend says -------------------------------------------------------------------------------------------


def class_items(classes: Sequence[str]) -> list[Item]:
    """Each class behind its colour."""
    items = []
    for index, name in enumerate(classes):
        sample = blank(16, 14)
        sample[2:15] = color_of(index)
        items.append(Item(name, INK, sample))
    return items


def ignored_item() -> Item:
    """What hatching means."""
    sample = blank(16, 22)
    hatch(sample, np.ones(sample.shape[:2], dtype=bool))
    return Item("ignored", INK, sample)
