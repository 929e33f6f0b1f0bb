"""The tables of the phantom's anatomy: what is where in a synthetic abdomen, how bright, and in which images.

Everything is where frames put it: rows (level, x, y, rx, ry, degrees) between which an ellipse is interpolated.
``level`` runs down the body, 0 where the first organ may begin and 1 where the last ends: chest below 0, pelvis
above 1. x and y are in units of the body's half width from its center, x to the image's right (the patient's left),
y to the back. Organs begin and end at a size that is clearly seen, never in slivers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Frames: TypeAlias = Sequence[tuple[float, float, float, float, float, float]]
Part: TypeAlias = tuple[str, float, Frames]  # brightness, texture, frames

CLASSES = ("large_bowel", "small_bowel", "stomach")
MOTTLE, GRAIN = 0.09, 0.03


@dataclass(frozen=True)
class Size:
    """What a scanner's matrix settles, in pixels: the image, the body in it, the brightest pixel of a scan."""

    width: int
    height: int
    half_width: float
    wander: float
    ceiling: tuple[float, float]
    room_for_arm: bool


SIZES = (
    Size(266, 266, 97.0, 9.0, (10_800.0, 14_900.0), room_for_arm=False),
    Size(360, 310, 111.0, 20.0, (560.0, 1_880.0), room_for_arm=True),
)

# Spans that each case draws a tissue's brightness from; organs have their own in phantom_scan, within the same range.
BRIGHTNESS = {
    "fat": (0.70, 0.85), "mesentery": (0.58, 0.80), "muscle": (0.20, 0.30), "lung": (0.03, 0.08),
    "liver": (0.28, 0.44), "spleen": (0.22, 0.40), "gallbladder": (0.28, 0.72), "pancreas": (0.36, 0.50),
    "kidney": (0.32, 0.50), "sinus": (0.50, 0.70), "cortex": (0.10, 0.20), "marrow": (0.34, 0.56),
    "vessel": (0.15, 0.50), "bladder": (0.25, 0.70),
}  # fmt: skip


def both_sides(tissue: str, texture: float, frames: Frames) -> tuple[Part, Part]:
    """A part on the image's right and its mirror image."""
    mirrored = [(level, -x, y, rx, ry, -degrees) for level, x, y, rx, ry, degrees in frames]
    return (tissue, texture, frames), (tissue, texture, mirrored)


# fmt: off
BACKGROUND: tuple[Part, ...] = (  # in painting order
    *both_sides("lung", MOTTLE, (
        (-9, 0.42, 0.00, 0.37, 0.49, -8), (-0.08, 0.42, 0.05, 0.36, 0.43, -8), (0.1, 0.42, 0.3, 0.3, 0.17, -30))),
    ("muscle", GRAIN, ((-9, 0.10, -0.20, 0.30, 0.25, 30), (-0.08, 0.12, -0.24, 0.26, 0.19, 30))),  # the heart
    ("liver", GRAIN, (
        (-0.5, -0.42, 0, 0.12, 0.12, 0), (-0.15, -0.41, -0.02, 0.34, 0.38, 0), (0.12, -0.40, -0.05, 0.41, 0.47, 0),
        (0.42, -0.53, 0.0, 0.29, 0.42, 8), (0.66, -0.64, 0.06, 0.15, 0.24, 10))),
    ("liver", GRAIN, (
        (-0.1, -0.02, -0.30, 0.24, 0.14, 0), (0.15, 0.02, -0.34, 0.34, 0.15, 6), (0.4, -0.10, -0.36, 0.24, 0.10, 0))),
    ("spleen", GRAIN, (
        (-0.12, 0.6, 0.16, 0.12, 0.2, -10), (0.12, 0.63, 0.18, 0.16, 0.29, -12), (0.45, 0.64, 0.22, 0.1, 0.18, -10))),
    ("gallbladder", GRAIN, (
        (0.2, -0.27, -0.12, 0.07, 0.09, 20), (0.36, -0.3, -0.16, 0.1, 0.12, 20), (0.48, -0.32, -0.18, 0.07, 0.09, 20))),
    ("pancreas", MOTTLE, (
        (0.22, 0.25, 0.08, 0.24, 0.06, -14), (0.36, 0.05, 0.02, 0.24, 0.07, -10), (0.42, -0.06, 0.03, 0.12, 0.07, 0))),
    *both_sides("kidney", GRAIN, (
        (0.21, 0.37, 0.28, 0.1, 0.1, -30), (0.47, 0.39, 0.3, 0.145, 0.125, -30), (0.78, 0.41, 0.3, 0.1, 0.09, -30))),
    *both_sides("sinus", MOTTLE, ((0.3, 0.35, 0.28, 0.05, 0.04, -30), (0.67, 0.37, 0.295, 0.06, 0.045, -30))),
    *both_sides("muscle", GRAIN, (
        (0.4, 0.19, 0.24, 0.05, 0.08, 0), (1.0, 0.27, 0.20, 0.11, 0.12, 0), (9, 0.36, 0.02, 0.10, 0.10, 0))),
    *both_sides("muscle", MOTTLE, ((-9, 0.19, 0.49, 0.17, 0.10, 8), (9, 0.19, 0.47, 0.18, 0.12, 8))),
    ("cortex", GRAIN, (
        (-9, 0, 0.25, 0.145, 0.125, 0), (1.0, 0, 0.25, 0.15, 0.13, 0), (1.3, 0, 0.36, 0.26, 0.12, 0),
        (9, 0, 0.4, 0.24, 0.1, 0))),
    ("marrow", MOTTLE, (
        (-9, 0, 0.25, 0.12, 0.10, 0), (1.0, 0, 0.25, 0.125, 0.105, 0), (1.3, 0, 0.36, 0.235, 0.095, 0),
        (9, 0, 0.4, 0.22, 0.08, 0))),
    ("vessel", GRAIN, ((-9, 0.10, 0.12, 0.055, 0.055, 0), (0.9, 0.04, 0.08, 0.05, 0.05, 0))),
    ("vessel", GRAIN, ((-0.2, -0.14, 0.08, 0.06, 0.05, 0), (0.95, -0.09, 0.09, 0.065, 0.05, 0))),
    *both_sides("cortex", GRAIN, (
        (0.90, 0.66, 0.16, 0.05, 0.16, -20), (1.4, 0.56, 0.16, 0.10, 0.36, -34), (9, 0.5, 0.2, 0.16, 0.2, -30))),
    *both_sides("marrow", MOTTLE, (
        (0.92, 0.66, 0.16, 0.03, 0.14, -20), (1.4, 0.56, 0.16, 0.075, 0.33, -34), (9, 0.5, 0.2, 0.13, 0.17, -30))),
    *both_sides("muscle", MOTTLE, ((1.02, 0.42, 0.10, 0.10, 0.12, 0), (9, 0.40, 0.0, 0.12, 0.14, 0))),
    ("bladder", GRAIN, (
        (1.03, 0, -0.16, 0.20, 0.13, 0), (1.3, 0, -0.10, 0.30, 0.21, 0), (9, 0, -0.1, 0.24, 0.16, 0))),
)
# fmt: on

STOMACH: Frames = (
    (0.00, 0.40, -0.02, 0.18, 0.17, 0), (0.15, 0.36, -0.07, 0.23, 0.19, -20), (0.33, 0.27, -0.12, 0.25, 0.165, -22),
    (0.44, 0.17, -0.18, 0.27, 0.125, -12), (0.60, 0.05, -0.20, 0.24, 0.105, 0),
)  # fmt: skip
DESCENDING: Frames = (
    (0.18, 0.64, -0.15, 0.115, 0.165, -25), (0.30, 0.66, -0.10, 0.12, 0.165, -15), (0.46, 0.66, -0.02, 0.12, 0.155, 0),
    (0.72, 0.66, 0.05, 0.12, 0.145, 0), (1.0, 0.59, 0.05, 0.12, 0.145, 0),
)  # fmt: skip
ASCENDING: Frames = (
    (0.46, -0.57, -0.02, 0.155, 0.155, 0), (0.7, -0.59, 0.04, 0.165, 0.18, 0), (1.0, -0.52, 0.05, 0.145, 0.155, 0),
)  # fmt: skip
TRANSVERSE = (0.38, 0.66)  # levels
HAUSTRA = (-0.50, -0.31, -0.11, 0.10, 0.30, 0.49)  # x
# Loops of small bowel: first and last level, x, y. Those in front begin where the stomach ends.
LOOPS = (
    (0.40, 1.00, 0.31, 0.02), (0.40, 0.99, 0.14, -0.02), (0.40, 1.00, -0.30, 0.03), (0.50, 1.00, -0.11, -0.03),
    (0.62, 0.97, 0.23, -0.19), (0.61, 0.98, 0.00, -0.22), (0.62, 0.97, -0.24, -0.18),
)  # fmt: skip
# Small distractors in the mesentery, drawn anew each day: vessels and nodes, as bright as loops.
SPECKS, SPECK_LEVELS = 14, (0.25, 1.15)


@dataclass(frozen=True)
class Ellipse:
    """One cross-section in body units; ``lobes`` dent its outline, ``bend`` makes it a kidney."""

    x: float
    y: float
    rx: float
    ry: float
    degrees: float = 0.0
    lobes: int = 0
    bend: float = 0.0
    phase: float = 0.0


def cut(
    frames: Frames, level: float, *, move: Sequence[float] = (0.0, 0.0), scale: float = 1.0, **outline: float
) -> Ellipse | None:
    """The cross-section at a level, moved and scaled; None above the first frame and below the last."""
    levels = [frame[0] for frame in frames]
    if not levels[0] <= level <= levels[-1]:
        return None
    x, y, rx, ry, degrees = (float(np.interp(level, levels, column)) for column in list(zip(*frames, strict=True))[1:])
    return Ellipse(x + move[0], y + move[1], rx * scale, ry * scale, degrees, **outline)  # type: ignore[arg-type]
