"""Text and layout for pictures: smooth lettering, rows of labelled samples, tiles side by side. RGB throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

Color: TypeAlias = tuple[int, int, int]

BACKGROUND: Color = (20, 22, 27)
INK: Color = (235, 237, 240)
MUTED: Color = (150, 156, 166)
LINE: Color = (32, 35, 42)
AMBER: Color = (255, 190, 40)
MARGIN = 16
HANGING = 12
"""How far the second and every further line of a paragraph is indented."""

DEMO = "DEMO: synthetic phantoms, not real data"

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FINER = 4  # letters are drawn this much larger and averaged down: OpenCV's own small letters are ragged


@dataclass(frozen=True)
class Item:
    """A piece of text in a row of them, behind a small picture ``[16, w, 3]`` where it has one."""

    text: str
    color: Color
    sample: Picture | None = None


def blank(height: int, width: int) -> Picture:
    """An empty area, ``[height, width, 3]``."""
    return np.full((height, width, 3), BACKGROUND, dtype=np.uint8)


def text_width(text: str, scale: float) -> int:
    """How many pixels ``put_text`` needs for a text."""
    return -(-cv2.getTextSize(_plain(text), _FONT, scale * _FINER, _FINER)[0][0] // _FINER)


def shorten(text: str, width: int, scale: float) -> str:
    """The text, its middle left out where it is wider than ``width`` pixels: ids differ at their ends."""
    keep = len(text)
    short = text
    while keep > 2 and text_width(short, scale) > width:
        keep -= 1
        short = text[: (keep + 1) // 3] + "..." + text[len(text) - (keep - (keep + 1) // 3) :]
    return short


def put_text(
    picture: Picture, text: str, origin: tuple[int, int], scale: float, color: Color, *, bold: bool = False
) -> None:
    """Write a text into a picture, in place; ``origin`` is (x, y) of the baseline's start, in pixels."""
    height, width = picture.shape[:2]
    large = np.zeros((height * _FINER, width * _FINER), dtype=np.uint8)
    at = (origin[0] * _FINER, origin[1] * _FINER)
    thickness = _FINER + (3 if bold else 1)
    cv2.putText(large, _plain(text), at, _FONT, scale * _FINER, 255, thickness, cv2.LINE_AA)
    share = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)[..., None] / 255
    picture[:] = np.rint(picture * (1 - share) + np.array(color) * share).astype(np.uint8)


def banner(text: str, width: int) -> Picture:
    """A bar across the whole width that cannot be overlooked."""
    bar = np.full((40, width, 3), AMBER, dtype=np.uint8)
    scale = 0.75 if text_width(text, 0.75) < width - 2 * MARGIN else 0.5
    put_text(bar, text, (max(MARGIN, (width - text_width(text, scale)) // 2), 27), scale, BACKGROUND, bold=True)
    return bar


def flow(items: Sequence[Item], width: int, *, margin: int = MARGIN, scale: float = 0.48) -> Picture:
    """Items one behind the other, in as many lines as they need."""
    gap, line = 14 if margin == 0 else 22, 20 if margin == 0 else 26
    lines = [blank(line, width)]
    x = margin
    for item in items:
        sample = 0 if item.sample is None else item.sample.shape[1] + 7
        text = shorten(item.text, width - 2 * margin - sample, scale)
        needed = sample + text_width(text, scale)
        if x > margin and x + needed > width - margin:
            lines.append(blank(line, width))
            x = margin
        if item.sample is not None:
            lines[-1][4:20, x : x + item.sample.shape[1]] = item.sample
        put_text(lines[-1], text, (x + sample, 17 if margin else 13), scale, item.color)
        x += needed + gap
    return np.concatenate([*lines, blank(8, width)])


def paragraph(text: str, width: int, *, scale: float = 0.42, color: Color = INK, margin: int = 0) -> Picture:
    """A text in as many lines as it needs, broken between words; a word that is too wide loses its middle."""
    room = width - 2 * margin - HANGING - 2  # letters reach a little beyond their measured width
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, scale) <= room + (HANGING if len(lines) == 1 else 0):
            lines[-1] = longer
        elif lines[-1]:
            lines.append(shorten(word, room, scale))
        else:
            lines[-1] = shorten(word, room, scale)
    rows = [blank(18, width) for _ in lines]
    for number, (row, line) in enumerate(zip(rows, lines, strict=True)):
        put_text(row, line, (margin + HANGING * (number > 0), 13), scale, color)
    return np.concatenate(rows)


def stack(tiles: Sequence[Picture], width: int) -> Picture:
    """Tiles side by side, aligned at their upper edges, a margin around each."""
    band = blank(max(tile.shape[0] for tile in tiles) + MARGIN // 2, width)
    x = MARGIN
    for tile in tiles:
        band[: tile.shape[0], x : x + tile.shape[1]] = tile
        x += tile.shape[1] + MARGIN
    return band


def _plain(text: str) -> str:
    """OpenCV's letters are ASCII only."""
    return text.encode("ascii", "replace").decode()
