"""The picture of a training batch: each slice before augmentation, after it, and after the batch transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.report.drawing import MARGIN, MUTED, paragraph, sheet, side_by_side, tile
from gisegkit.report.outlines import DASHED, DOTTED, SOLID, Line, black_and_white, legend, outlined
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    from gisegkit.report.drawing import Picture
    from gisegkit.types import AnyArray, MaskArray

SIDE = 240
"""Side of a square slice in the picture; others have about the same area, as far as the bounds allow."""

WIDEST, HIGHEST, NARROWEST = 480, 400, 200
"""Bounds of a tile; a narrower slice is in the middle of a tile of the least width."""

FAINTEST = 0.35
"""Strength of the line of a target of weight 0, as a share of that of the largest weight."""


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
        samples: the slices, at least one.
        classes: names of the K classes.
        demo: whether a banner says that the data are synthetic.
        heading: printed above everything.
        notes: what holds for all slices, one paragraph each.

    Returns:
        ``[H, W, 3]`` RGB.
    """
    targets = [stage.targets for sample in samples for stage in sample.stages]
    weights = [weight for weight, _ in max(targets, key=len)]
    keys = [(f"masks of weight {weight:.2f}", line) for weight, line in zip(weights, lines(weights), strict=True)]
    ignored = any((mask == IGNORE).any() for stage in targets for _, mask in stage)
    return sheet(
        [_block(sample) for sample in samples],
        gap=2 * MARGIN,
        demo=demo,
        heading=heading,
        notes=notes,
        legend=legend(keys if len(keys) > 1 else [], classes, ignored=ignored),
    )


def _block(sample: Sample) -> Picture:
    """The stages of a slice side by side, with its title above and what was drawn for it below."""
    limits = black_and_white(np.concatenate([stage.image.reshape(-1) for stage in sample.stages]))
    row = side_by_side([_stage(stage, limits) for stage in sample.stages], gap=MARGIN // 2)
    width = row.shape[1]
    texts = [paragraph(text, width, color=MUTED) for text in sample.drawn]
    return np.concatenate([paragraph(sample.title, width, scale=0.5, bold=True), row, *texts])


def _stage(stage: Stage, limits: tuple[float, float]) -> Picture:
    picture = outlined_stage(stage, limits)
    width = max(NARROWEST, picture.shape[1])
    weights = [f"{weight:.2f}" for weight, _ in stage.targets]
    name = f"{stage.name}: {' / '.join(weights)}" if len(weights) > 1 else stage.name
    return tile(picture, width, paragraph(name, width))


def tile_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) in which slices of this size are shown."""
    scale = min(SIDE / math.sqrt(height * width), WIDEST / width, HIGHEST / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def lines(weights: Sequence[float]) -> list[Line]:
    """Lines of targets with these weights: the first solid, the others broken, and the weaker the less they weigh."""
    kinds = [SOLID, DASHED, *[DOTTED] * len(weights)]
    shares = [FAINTEST + (1 - FAINTEST) * weight / max(weights) for weight in weights]
    return [Line(kind.dash, share) for kind, share in zip(kinds, shares, strict=False)]


def outlined_stage(stage: Stage, limits: tuple[float, float]) -> Picture:
    """The slice at the size in which it is shown, with its masks as lines; the strongest is on top.

    Args:
        stage: the slice.
        limits: the values that become black and white.
    """
    weights, masks = zip(*stage.targets, strict=True)
    layers = sorted(zip(lines(weights), masks, strict=True), key=lambda layer: layer[0].strength)
    return outlined(stage.image, tile_size(*stage.image.shape[:2]), layers, limits)
