"""The preview: one picture of several slices with the outlines of truth and prediction.

``pick_rows`` chooses the slices, ``draw`` makes the picture, ``encode_png`` the file's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gisegkit.report.drawing import MARGIN, MUTED, Item, flow, paragraph, sheet, tile
from gisegkit.report.outlines import DASHED, SOLID, color_of, legend, outlined
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gisegkit.report.drawing import Picture
    from gisegkit.types import AnyArray, BoolArray, MaskArray

TILE = 360
"""Width of a slice in the picture, in pixels; no slice is drawn higher than 1.5 times that."""


@dataclass(frozen=True)
class Panel:
    """One slice of the preview.

    Attributes:
        title: the slice's id.
        image: ``[H, W]`` or ``[H, W, 3]`` (RGB) at native size, any depth; of another number of channels the first
            is shown.
        prediction: ``[H, W, K]``.
        truth: ``[H, W, K]`` of 0, 1 or IGNORE; None if the slice is not labelled.
    """

    title: str
    image: AnyArray
    prediction: BoolArray
    truth: MaskArray | None


# --- which slices ---------------------------------------------------------------------------------------------------


def pick_rows(table: pd.DataFrame, rows: Sequence[int] | NDArray[np.intp], *, count: int = 12) -> list[int]:
    """Slices worth looking at: spread evenly over the scans and within each, the same ones every time.

    Annotated slices come first. One slice is empty, if there is any, because it shows false positives.

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
        heading: printed above everything.

    Returns:
        ``[H, W, 3]`` RGB.
    """
    truths = [panel.truth for panel in panels if panel.truth is not None]
    lines = [("truth", SOLID)] if truths else []
    keys = legend([*lines, ("prediction", DASHED)], classes, ignored=any((truth == IGNORE).any() for truth in truths))
    return sheet([_block(panel, classes) for panel in panels], gap=MARGIN, demo=demo, heading=heading, legend=keys)


def encode_png(picture: Picture) -> bytes:
    """The bytes of a PNG file; ``picture`` is ``[H, W, 3]`` RGB."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 3]  # level 9 makes the file 7 % smaller and takes 13 times as long
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    return data.tobytes()


def _block(panel: Panel, classes: Sequence[str]) -> Picture:
    """A slice with its outlines, its title and its scores below."""
    scores = flow(_dice_items(panel, classes), TILE, margin=0, scale=0.38)
    return tile(outlined_panel(panel), TILE, paragraph(panel.title, TILE, scale=0.46), scores)


def outlined_panel(panel: Panel) -> Picture:
    """The slice at the size in which it is shown, ``[h, w, 3]`` RGB, w at most TILE, with its outlines."""
    height, width = panel.image.shape[:2]
    scale = min(TILE / width, 1.5 * TILE / height)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    truth = [] if panel.truth is None else [(SOLID, panel.truth)]
    return outlined(panel.image, size, [(DASHED, panel.prediction), *truth])


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
