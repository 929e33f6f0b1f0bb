"""A slice with the outlines of its masks: colors of the classes, solid and broken lines, hatching, and the legend.

The preview and the picture of a batch share it. Sizes are pixels of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gisegkit.report.drawing import INK, Color, Item, blank
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.report.drawing import Picture
    from gisegkit.types import AnyArray, BoolArray

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
"""Colors of the classes, in their order: Okabe and Ito's colors for every kind of color vision, lightened where they
would drown in gray tissue, and three more. After the last one the first comes again."""


@dataclass(frozen=True)
class Line:
    """How outlines are drawn.

    Attributes:
        dash: lengths of a dash and a gap; None for a solid line.
        strength: 1 for a line that covers the slice; the less, the more the slice shows through.
    """

    dash: tuple[int, int] | None = None
    strength: float = 1.0

    def draw(self, picture: AnyArray, paths: list[Points], color: Sequence[float], *, rim: bool = False) -> None:
        """Draw closed paths into a picture, in place; a rim is a line that is wider by a pixel on either side."""
        pieces = paths if self.dash is None else dashes(paths, *self.dash)
        # a broken line needs more to look as strong as a solid one; OpenCV draws thickness 2 as 3 pixels, and 4 as 5
        thickness = (1 if self.dash is None else 2) * (2 if rim else 1)
        for piece in pieces:
            closed = self.dash is None or len(piece) == 1  # OpenCV draws nothing for an open path of one point
            cv2.polylines(picture, [piece], closed, color, thickness)


SOLID, DASHED, DOTTED = Line(), Line((6, 7)), Line((2, 5))


def color_of(index: int) -> Color:
    """The color of the class with this index."""
    return PALETTE[index % len(PALETTE)]


def black_and_white(values: AnyArray) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile of the finite values; the extremes if those are equal."""
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
    gray = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return gray if gray.ndim == 3 else np.repeat(gray[..., None], 3, axis=2)


def enlarge(mask: AnyArray, size: tuple[int, int]) -> AnyArray:
    """``[H, W, K]`` to ``[h, w, K]``: each pixel takes the value below its center, as the slice's own resizing does."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(size, mask.shape[:2], strict=True)
    )
    enlarged: AnyArray = mask.take(rows, axis=0).take(columns, axis=1)
    return enlarged


def borders(masks: BoolArray) -> list[list[Points]]:
    """The outermost pixels of each class's regions and holes, as closed paths; masks ``[h, w, K]``."""
    paths = []
    for index in range(masks.shape[-1]):
        mask = np.ascontiguousarray(masks[..., index], dtype=np.uint8)
        found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        paths.append([np.asarray(path, dtype=np.int32) for path in found])
    return paths


def dashes(border: list[Points], dash: int, gap: int) -> list[Points]:
    """The paths cut into dashes, lengths in pixels."""
    return [path[start : start + dash] for path in border for start in range(0, len(path), dash + gap)]


def hatch(picture: Picture, where: BoolArray) -> None:
    """Draw diagonal lines over part of a picture, in place."""
    rows, columns = np.indices(where.shape)
    stripes = where & ((rows + columns) % 8 < 2)
    picture[stripes] = picture[stripes] // 2 + 90


def outlined(
    image: AnyArray,
    size: tuple[int, int],
    layers: Sequence[tuple[Line, AnyArray]],
    limits: tuple[float, float] | None = None,
) -> Picture:
    """A slice with the outlines of its masks; pixels that any mask ignores are hatched.

    Args:
        image: as for ``stretch``.
        size: (height, width) of the result.
        layers: masks ``[H, W, K]`` of 0, 1 or IGNORE and their lines; the last is on top.
        limits: as for ``stretch``.

    Returns:
        ``[h, w, 3]`` RGB.
    """
    way = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_CUBIC
    picture = cv2.resize(stretch(image, limits), size[::-1], interpolation=way).astype(np.uint8)
    ignored = np.zeros(image.shape[:2], dtype=bool)
    for _, mask in layers:
        if mask.dtype != bool:
            ignored |= (mask == IGNORE).any(axis=-1)
    if ignored.any():
        hatch(picture, enlarge(ignored, size))
    draw_lines(picture, [(line, borders(enlarge(mask == 1, size))) for line, mask in layers])
    return picture


def draw_lines(
    picture: Picture, layers: Sequence[tuple[Line, list[list[Points]]]], colors: Sequence[Color] = PALETTE
) -> None:
    """Draw each class's paths into a picture, in place, over darkened rims that set them off bright tissue."""
    rim = np.zeros(picture.shape[:2], dtype=np.float32)
    for line, border in layers:
        for paths in border:
            line.draw(rim, paths, (line.strength,), rim=True)
    dark = rim > 0
    picture[dark] = picture[dark] * (1 - rim[dark][:, None] / 2)
    for line, border in layers:
        below = picture.copy()
        for index, paths in enumerate(border):
            line.draw(picture, paths, colors[index % len(colors)])
        if line.strength < 1:
            picture[:] = np.rint(line.strength * picture + (1 - line.strength) * below)


def legend(lines: Sequence[tuple[str, Line]], classes: Sequence[str], *, ignored: bool) -> list[Item]:
    """What each line, hatching (if any pixel is ignored) and each class's color mean."""
    items = []
    for text, line in lines:
        sample = blank(16, 44)
        path = np.array([[[x, 8]] for x in range(44)], dtype=np.int32)
        draw_lines(sample, [(line, [[path]])], [INK])
        items.append(Item(text, INK, sample))
    if ignored:
        sample = blank(16, 22)
        hatch(sample, np.ones(sample.shape[:2], dtype=bool))
        items.append(Item("ignored", INK, sample))
    for index, name in enumerate(classes):
        sample = blank(16, 14)
        sample[2:15] = color_of(index)
        items.append(Item(name, INK, sample))
    return items
