"""The picture of a training batch: each slice before augmentation, after it, and after the batch transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gisegkit.report.drawing import (
    DEMO,
    INK,
    LINE,
    MARGIN,
    MUTED,
    Color,
    Item,
    banner,
    blank,
    flow,
    paragraph,
    put_text,
    shorten,
    stack,
    text_width,
)
from gisegkit.report.outlines import (
    THICK,
    black_and_white,
    borders,
    class_items,
    color_of,
    dashes,
    enlarge,
    hatch,
    ignored_item,
    stretch,
)
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.report.outlines import Points
    from gisegkit.types import AnyArray, MaskArray

    Picture = NDArray[np.uint8]

SIDE = 240
"""Side of a square slice in the picture, in pixels; others have about the same area, as far as the bounds allow."""

WIDEST, HIGHEST, NARROWEST = 480, 400, 200
"""A tile is at most so wide and high; a narrower slice stands in the middle of a tile of the least width."""

LINE_WIDTH = 1600
"""As many slices as fit into this width stand side by side, one at least."""

BETWEEN = 8
BROKEN = (None, (6, 5), (1, 3))
"""Dash and gap of the first, second and every further target's line, in pixels; the first is solid."""

FAINTEST = 0.35
"""How strong the line of a target of weight 0 is, as a share of that of the largest weight."""


@dataclass(frozen=True)
class Stage:
    """A slice at one point of its way to the network.

    Attributes:
        name: what has been done so far.
        image: ``[H, W]`` or ``[H, W, 3]`` (RGB).
        targets: pairs (weight, mask), mask ``[H, W, K]`` of 0, 1 or IGNORE.
    """

    name: str
    image: AnyArray
    targets: tuple[tuple[float, MaskArray], ...]


@dataclass(frozen=True)
class Sample:
    """One slice of the batch.

    Attributes:
        title: its number in the batch and its id.
        stages: in their order; all slices have the same ones, all of one size.
        drawn: what was drawn for it, a line a step.
    """

    title: str
    stages: tuple[Stage, ...]
    drawn: tuple[str, ...]


def draw_batch(
    samples: Sequence[Sample], classes: Sequence[str], *, demo: bool, heading: str, notes: Sequence[str]
) -> Picture:
    """All slices under a heading, notes and a legend.

    Args:
        samples: the slices, one at least.
        classes: names of the K classes.
        demo: whether a banner says that the data are synthetic.
        heading: one line above everything.
        notes: what holds for the whole batch, a line each.

    Returns:
        ``[H, W, 3]`` RGB.
    """
    blocks = [_block(sample) for sample in samples]
    wide = blocks[0].shape[1] + 2 * MARGIN
    columns = min(len(blocks), max(1, (LINE_WIDTH - MARGIN) // wide))
    columns = -(-len(blocks) // -(-len(blocks) // columns))  # as evenly filled lines as can be
    width = max(columns * wide + MARGIN, min(text_width(heading, 0.75) + 3 * MARGIN, LINE_WIDTH))
    parts = [banner(DEMO, width)] if demo else []
    parts += [blank(MARGIN, width), _bold(heading, width, scale=0.75, margin=MARGIN)]
    parts += [paragraph(note, width, scale=0.48, color=MUTED, margin=MARGIN) for note in notes]
    parts += [blank(6, width), flow(_legend(samples, classes), width)]
    for start in range(0, len(blocks), columns):
        line = [np.concatenate([block, blank(len(block), MARGIN)], axis=1) for block in blocks[start : start + columns]]
        parts += [stack(line, width), blank(MARGIN, width)]
    return np.concatenate(parts)


def _bold(text: str, width: int, *, scale: float, margin: int) -> Picture:
    row = blank(round(45 * scale), width)
    text = shorten(text, width - 2 * margin, scale)
    put_text(row, text, (margin, round(29 * scale)), scale, INK, bold=True)
    return row


def _legend(samples: Sequence[Sample], classes: Sequence[str]) -> list[Item]:
    stages = [stage for sample in samples for stage in sample.stages]
    weights = [weight for weight, _ in max((stage.targets for stage in stages), key=len)]
    items = []
    for order, weight in enumerate(weights if len(weights) > 1 else []):
        sample = blank(16, 44)
        line = np.array([[[x, 8]] for x in range(44)], dtype=np.int32)
        _lay(sample, [[line]], order, weight / max(weights), [INK])
        items.append(Item(f"masks of weight {weight:.2f}", INK, sample))
    if any((mask == IGNORE).any() for stage in stages for _, mask in stage.targets):
        items.append(ignored_item())
    return items + class_items(classes)


# --- one slice ------------------------------------------------------------------------------------------------------


def _block(sample: Sample) -> Picture:
    """The stages of a slice side by side, its title above, what was drawn for it below."""
    limits = black_and_white(np.concatenate([stage.image.reshape(-1) for stage in sample.stages]))
    tiles = [_tile(stage, limits) for stage in sample.stages]
    height, width = max(map(len, tiles)), tiles[0].shape[1] + BETWEEN
    row = blank(height, len(tiles) * width - BETWEEN)
    for index, tile in enumerate(tiles):
        row[: len(tile), index * width : index * width + tile.shape[1]] = tile
    width = row.shape[1]
    texts = [paragraph(text, width, color=MUTED) for text in sample.drawn]
    return np.concatenate([_bold(sample.title, width, scale=0.5, margin=0), row, *texts])


def _tile(stage: Stage, limits: tuple[float, float]) -> Picture:
    picture = outlined(stage, limits)
    pad = max(0, NARROWEST - picture.shape[1])
    sides = [np.full((len(picture), wide, 3), LINE, dtype=np.uint8) for wide in (pad // 2, pad - pad // 2)]
    picture = np.concatenate([sides[0], picture, sides[1]], axis=1)
    weights = [f"{weight:.2f}" for weight, _ in stage.targets]
    name = f"{stage.name}: {' / '.join(weights)}" if len(weights) > 1 else stage.name
    return np.concatenate([picture, blank(4, picture.shape[1]), paragraph(name, picture.shape[1])])


def tile_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) in which slices of this size are shown."""
    scale = min(SIDE / math.sqrt(height * width), WIDEST / width, HIGHEST / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def outlined(stage: Stage, limits: tuple[float, float]) -> Picture:
    """A slice at the size in which it is shown, its masks as lines: the first target solid, the others broken.

    A line is the weaker the less its target weighs.

    Args:
        stage: the slice.
        limits: the values that become black and white.
    """
    size = tile_size(*stage.image.shape[:2])
    way = cv2.INTER_AREA if size[0] < stage.image.shape[0] else cv2.INTER_CUBIC
    picture = cv2.resize(stretch(stage.image, limits), size[::-1], interpolation=way).astype(np.uint8)
    masks = [enlarge(mask, size) for _, mask in stage.targets]
    hatch(picture, np.any([(mask == IGNORE).any(axis=-1) for mask in masks], axis=0))
    weights = [weight for weight, _ in stage.targets]
    for order in sorted(range(len(masks)), key=lambda order: weights[order]):  # the strongest on top
        colors = [color_of(index) for index in range(masks[order].shape[-1])]
        _lay(picture, borders(masks[order] == 1), order, weights[order] / max(weights), colors)
    return picture


def _lay(picture: Picture, border: list[list[Points]], order: int, share: float, colors: Sequence[Color]) -> None:
    """Draw each class's paths into a picture, in place, over a darkened rim that sets them off bright tissue.

    Args:
        order: the target's place among the others; decides between solid and broken.
        share: its weight over the largest one; decides how strong the line is.
    """
    broken = BROKEN[min(order, len(BROKEN) - 1)]
    lines = [paths if broken is None else dashes(paths, *broken) for paths in border]
    thick = 1 if broken is None else THICK  # a broken line needs more to look as strong as a solid one
    halo, drawn = np.zeros(picture.shape[:2], dtype=np.uint8), picture.copy()
    for paths in lines:
        cv2.polylines(halo, paths, broken is None, 255, thick + 1)
    drawn[halo > 0] = drawn[halo > 0] // 2
    for paths, color in zip(lines, colors, strict=True):
        cv2.polylines(drawn, paths, broken is None, color, thick)
    strength = FAINTEST + (1 - FAINTEST) * share
    picture[:] = np.rint(strength * drawn + (1 - strength) * picture.astype(np.float64)).astype(np.uint8)
