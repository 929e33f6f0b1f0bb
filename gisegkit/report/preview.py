"""The preview: a grid of slices with truth and prediction outlined, as one picture.

``pick_rows`` chooses the slices, ``draw`` makes the picture, ``encode_png`` the file's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gisegkit.report.drawing import (
    INK,
    LINE,
    MARGIN,
    MUTED,
    Item,
    banner,
    blank,
    flow,
    put_text,
    shorten,
    stack,
)
from gisegkit.report.outlines import (
    DASH,
    GAP,
    THICK,
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
    import pandas as pd
    from numpy.typing import NDArray

    from gisegkit.report.outlines import Points
    from gisegkit.types import AnyArray, BoolArray, MaskArray

    Picture = NDArray[np.uint8]

TILE = 360
"""Width of a slice in the picture, in pixels; no slice is drawn higher than 1.5 times that."""

COLUMNS = 4

DEMO = "DEMO: synthetic phantoms, not real data"


@dataclass(frozen=True)
class Panel:
    """One slice of the preview.

    Attributes:
        title: the slice's id.
        image: ``[H, W]`` or ``[H, W, 3]`` (RGB) at native size, any depth; of another number of channels the first
            is shown.
        prediction: ``[H, W, K]``.
        truth: ``[H, W, K]`` of 0, 1 or IGNORE; None where the slice is not labelled.
    """

    title: str
    image: AnyArray
    prediction: BoolArray
    truth: MaskArray | None


# --- which slices ---------------------------------------------------------------------------------------------------


def pick_rows(table: pd.DataFrame, rows: Sequence[int] | NDArray[np.intp], *, count: int = 12) -> list[int]:
    """Slices worth looking at: spread evenly over the scans and within each, the same ones every time.

    Annotated slices come first; one empty slice is among them where there is one, for it shows false positives.

    Args:
        table: the dataset's table.
        rows: the rows to choose from.
        count: how many at most.

    Returns:
        The chosen rows in ascending order.
    """
    candidates = np.unique(np.asarray(rows, dtype=np.intp))
    is_empty = table["empty"].to_numpy(dtype=bool)[candidates]
    scans = table["scan"].to_numpy()
    annotated, empty = candidates[~is_empty], candidates[is_empty]
    empties = max(min(1, len(empty), count), min(count - len(annotated), len(empty)))
    chosen = _spread(annotated, scans, count - empties) + _spread(empty, scans, empties)
    return sorted(chosen)


def _spread(rows: NDArray[np.intp], scans: AnyArray, count: int) -> list[int]:
    """``count`` of the rows: as equal a share from each scan as there is, evenly spaced within it."""
    names, scan = np.unique(scans[rows].astype(str), return_inverse=True)
    groups = [rows[scan == index] for index in range(len(names))]
    if len(groups) > count:
        groups = [groups[index] for index in _evenly(len(groups), count)]
    shares = [0] * len(groups)
    left = min(count, len(rows))
    while left:
        for index, group in enumerate(groups):
            if left and shares[index] < len(group):
                shares[index] += 1
                left -= 1
    return [int(group[i]) for group, share in zip(groups, shares, strict=True) for i in _evenly(len(group), share)]


def _evenly(length: int, count: int) -> list[int]:
    """``count`` different indices into ``length`` things, each in the middle of its share."""
    return [int((index + 0.5) * length / count) for index in range(count)]


# --- the picture ----------------------------------------------------------------------------------------------------


def draw(panels: Sequence[Panel], classes: Sequence[str], *, demo: bool, heading: str = "") -> Picture:
    """All panels in a grid under a heading and a legend.

    Args:
        panels: the slices, in the order in which they are shown; their sizes may differ.
        classes: names of the K classes.
        demo: whether a banner says that the data are synthetic.
        heading: one line above everything.

    Returns:
        ``[H, W, 3]`` RGB.
    """
    lines = -(-len(panels) // COLUMNS)
    columns = -(-len(panels) // lines) if panels else 2
    width = columns * (TILE + MARGIN) + MARGIN
    parts = [banner(DEMO, width)] if demo else []
    parts.append(blank(MARGIN, width))
    if heading:
        title = blank(34, width)
        put_text(title, shorten(heading, width - 2 * MARGIN, 0.75), (MARGIN, 22), 0.75, INK, bold=True)
        parts.append(title)
    parts.append(flow(_legend(panels, classes), width))
    tiles = [_tile(panel, classes) for panel in panels]
    for start in range(0, len(tiles), columns):
        parts.append(stack(tiles[start : start + columns], width))
    return np.concatenate(parts)


def encode_png(picture: Picture) -> bytes:
    """The bytes of a PNG file; ``picture`` is ``[H, W, 3]`` RGB."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 3]  # level 9 makes the file 7 % smaller and takes 13 times as long
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    return data.tobytes()


def _legend(panels: Sequence[Panel], classes: Sequence[str]) -> list[Item]:
    items = []
    if any(panel.truth is not None for panel in panels):
        sample = blank(16, 44)
        sample[8, :] = INK
        items.append(Item("truth", INK, sample))
    sample = blank(16, 44)
    for start in range(0, 44, DASH + GAP):
        sample[7:10, start : start + DASH] = INK
    items.append(Item("prediction", INK, sample))
    if any(panel.truth is not None and (panel.truth == IGNORE).any() for panel in panels):
        items.append(ignored_item())
    return items + class_items(classes)


def _tile(panel: Panel, classes: Sequence[str]) -> Picture:
    """A slice with its outlines, its title and its scores below."""
    picture = outlined(panel)
    pad = TILE - picture.shape[1]
    sides = [np.full((len(picture), wide, 3), LINE, dtype=np.uint8) for wide in (pad // 2, pad - pad // 2)]
    picture = np.concatenate([sides[0], picture, sides[1]], axis=1)
    title = blank(24, TILE)
    put_text(title, shorten(panel.title, TILE, 0.46), (0, 17), 0.46, INK)
    return np.concatenate([picture, title, flow(_dice_items(panel, classes), TILE, margin=0, scale=0.38)])


def _dice_items(panel: Panel, classes: Sequence[str]) -> list[Item]:
    if panel.truth is None:
        return [Item("not labelled", MUTED)]
    items = []
    for index, name in enumerate(classes):
        counted = panel.truth[..., index] != IGNORE
        truth = (panel.truth[..., index] == 1) & counted
        prediction = panel.prediction[..., index] & counted
        total = int(truth.sum()) + int(prediction.sum())
        if total:
            items.append(Item(f"{name} {2 * int((truth & prediction).sum()) / total:.2f}", color_of(index)))
    return [Item("Dice", MUTED), *items] if items else [Item("empty, and predicted empty", MUTED)]


# --- one slice ------------------------------------------------------------------------------------------------------


def outlined(panel: Panel) -> Picture:
    """The slice at the size in which it is shown, ``[h, w, 3]`` RGB, w at most TILE, outlines on it."""
    height, width = panel.image.shape[:2]
    scale = min(TILE / width, 1.5 * TILE / height)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(stretch(panel.image), size[::-1], interpolation=way).astype(np.uint8)
    predicted = borders(enlarge(panel.prediction, size))
    true: list[list[Points]] = []
    if panel.truth is not None:
        truth = enlarge(panel.truth, size)
        hatch(picture, (truth == IGNORE).any(axis=-1))
        true = borders(truth == 1)
    dashed = [dashes(border) for border in predicted]
    halo = np.zeros(size, dtype=np.uint8)  # darkens the rim of every line, so that it stands out on bright tissue too
    for paths in dashed:
        cv2.polylines(halo, paths, False, 255, THICK + 2)
    for paths in true:
        cv2.polylines(halo, paths, True, 255, THICK)
    picture[halo > 0] = picture[halo > 0] // 2
    for index, paths in enumerate(dashed):
        cv2.polylines(picture, paths, False, color_of(index), THICK)
    for index, paths in enumerate(true):
        cv2.polylines(picture, paths, True, color_of(index), 1)
    return picture
