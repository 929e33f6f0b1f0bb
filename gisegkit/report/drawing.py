"""Text and layout of pictures: paragraphs, rows of labeled samples, and a sheet of blocks under a heading.

Colors are RGB, sizes are pixels of the picture.
"""

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
PADDING: Color = (32, 35, 42)
AMBER: Color = (255, 190, 40)
MARGIN = 16
INDENT = 12
"""Indentation of the second and every further line of a paragraph."""

SHEET_WIDTH = 1600
"""As many blocks as fit into this width are in one row, at least one."""

DEMO = "DEMO: synthetic phantoms, not real data"

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FINER = 4  # letters are drawn this much larger and averaged down: small letters of OpenCV 4 are ragged


@dataclass(frozen=True)
class Item:
    """A short text in a row of others, after a small picture ``[16, w, 3]`` if it has one."""

    text: str
    color: Color
    sample: Picture | None = None


def blank(height: int, width: int) -> Picture:
    """An empty area, ``[height, width, 3]``."""
    return _filled(height, width, BACKGROUND)


def _filled(height: int, width: int, color: Color) -> Picture:
    area = np.empty((height, width, 3), dtype=np.uint8)
    for channel, value in enumerate(color):  # np.full with a color takes 5 times as long
        area[..., channel] = value
    return area


def text_width(text: str, scale: float) -> int:
    """How many pixels ``put_text`` needs for a text."""
    return -(-cv2.getTextSize(_plain(text), _FONT, scale * _FINER, _FINER)[0][0] // _FINER)


def shorten(text: str, width: int, scale: float) -> str:
    """The text, without its middle if it is wider than ``width`` pixels: ids differ at their ends."""
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
    share = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)[..., None]
    touched = np.flatnonzero(share.any(axis=(0, 2)))
    if touched.size:
        columns = slice(touched[0], touched[-1] + 1)
        covered = share[:, columns] / 255
        mixed = picture[:, columns] * (1 - covered) + np.array(color) * covered
        picture[:, columns] = np.rint(mixed).astype(np.uint8)


def banner(text: str, width: int) -> Picture:
    """A bar across the full width that nobody overlooks."""
    bar = _filled(40, width, AMBER)
    scale = 0.75 if text_width(text, 0.75) < width - 2 * MARGIN else 0.5
    put_text(bar, text, (max(MARGIN, (width - text_width(text, scale)) // 2), 27), scale, BACKGROUND, bold=True)
    return bar


def flow(items: Sequence[Item], width: int, *, margin: int = MARGIN, scale: float = 0.48) -> Picture:
    """Items one after another, in as many lines as they need."""
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


def paragraph(
    text: str, width: int, *, scale: float = 0.42, color: Color = INK, margin: int = 0, bold: bool = False
) -> Picture:
    """A text in as many lines as it needs, broken between words; a word that is too wide loses its middle."""
    room = width - 2 * margin - INDENT - 2  # letters reach a little beyond their measured width
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, scale) <= room + (INDENT if len(lines) == 1 else 0):
            lines[-1] = longer
        elif lines[-1]:
            lines.append(shorten(word, room, scale))
        else:
            lines[-1] = shorten(word, room, scale)
    rows = [blank(round(43 * scale), width) for _ in lines]
    for index, (row, line) in enumerate(zip(rows, lines, strict=True)):
        put_text(row, line, (margin + INDENT * (index > 0), round(31 * scale)), scale, color, bold=bold)
    return np.concatenate(rows)


def tile(picture: Picture, width: int, *captions: Picture) -> Picture:
    """A picture in the middle of ``width``, with captions of this width below."""
    left = (width - picture.shape[1]) // 2
    padded = _filled(len(picture), width, PADDING)
    padded[:, left : left + picture.shape[1]] = picture
    return np.concatenate([padded, blank(4, width), *captions])


def side_by_side(tiles: Sequence[Picture], *, gap: int) -> Picture:
    """Tiles in a row, aligned at their upper edges."""
    row = blank(max(map(len, tiles)), sum(tile.shape[1] + gap for tile in tiles) - gap)
    x = 0
    for tile in tiles:
        row[: len(tile), x : x + tile.shape[1]] = tile
        x += tile.shape[1] + gap
    return row


def sheet(
    blocks: Sequence[Picture], *, gap: int, demo: bool, heading: str, legend: Sequence[Item], notes: Sequence[str] = ()
) -> Picture:
    """Blocks of equal width in evenly filled rows, under a heading, notes and a legend.

    Args:
        blocks: the pictures, in the order in which they are shown.
        gap: distance between two blocks.
        demo: whether a banner says that the data are synthetic.
        heading: printed above everything.
        legend: what lines and colors mean.
        notes: what holds for all blocks, one paragraph each.

    Returns:
        ``[H, W, 3]`` RGB.
    """
    wide = max((block.shape[1] for block in blocks), default=SHEET_WIDTH // 2) + gap
    rows = max(1, -(-len(blocks) // max(1, (SHEET_WIDTH - MARGIN) // wide)))
    columns = max(1, -(-len(blocks) // rows))
    width = columns * wide - gap + 2 * MARGIN
    width = max(width, min(text_width(heading, 0.75) + 3 * MARGIN, SHEET_WIDTH))  # a heading may be wider than a block
    parts = [banner(DEMO, width)] if demo else []
    parts += [blank(MARGIN, width), paragraph(heading, width, scale=0.75, margin=MARGIN, bold=True)]
    parts += [paragraph(note, width, scale=0.48, color=MUTED, margin=MARGIN) for note in notes]
    parts += [blank(6, width), flow(legend, width)]
    for start in range(0, len(blocks), columns):
        row = side_by_side(blocks[start : start + columns], gap=gap)
        parts.append(blank(len(row) + gap, width))
        parts[-1][: len(row), MARGIN : MARGIN + row.shape[1]] = row
    return np.concatenate(parts)


def _plain(text: str) -> str:
    """OpenCV 5 draws any letter; older versions draw ASCII only."""
    return text if int(cv2.__version__.split(".")[0]) >= 5 else text.encode("ascii", "replace").decode()
