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
    Color,
    Item,
    banner,
    blank,
    flow,
    put_text,
    shorten,
    stack,
)
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gisegkit.types import AnyArray, BoolArray, MaskArray

    Picture = NDArray[np.uint8]

TILE = 360
"""Width of a slice in the picture, in pixels; no slice is drawn higher than 1.5 times that."""

COLUMNS = 4

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

DEMO = "DEMO: synthetic phantoms, not real data"
DASH, GAP = 6, 7
_THICK = 2  # OpenCV's lines of thickness 2 are 3 pixels wide, with the path in the middle


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
    volumes = table["volume"].to_numpy()
    annotated, empty = candidates[~is_empty], candidates[is_empty]
    empties = max(min(1, len(empty), count), min(count - len(annotated), len(empty)))
    chosen = _spread(annotated, volumes, count - empties) + _spread(empty, volumes, empties)
    return sorted(chosen)


def _spread(rows: NDArray[np.intp], volumes: AnyArray, count: int) -> list[int]:
    """``count`` of the rows: as equal a share from each scan as there is, evenly spaced within it."""
    names, scan = np.unique(volumes[rows].astype(str), return_inverse=True)
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
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return data.tobytes()


def color_of(index: int) -> Color:
    """The colour of the class with this index."""
    return PALETTE[index % len(PALETTE)]


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
        sample = blank(16, 22)
        _hatch(sample, np.ones(sample.shape[:2], dtype=bool))
        items.append(Item("ignored", INK, sample))
    for index, name in enumerate(classes):
        sample = blank(16, 14)
        sample[2:15] = color_of(index)
        items.append(Item(name, INK, sample))
    return items


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
    picture = cv2.resize(_stretch(panel.image), size[::-1], interpolation=way).astype(np.uint8)
    predicted = _borders(_enlarge(panel.prediction, size))
    true: list[list[NDArray[np.int32]]] = []
    if panel.truth is not None:
        truth = _enlarge(panel.truth, size)
        _hatch(picture, (truth == IGNORE).any(axis=-1))
        true = _borders(truth == 1)
    dashed = [_dashes(border) for border in predicted]
    halo = np.zeros(size, dtype=np.uint8)  # darkens the rim of every line, so that it stands out on bright tissue too
    for paths in dashed:
        cv2.polylines(halo, paths, False, 255, _THICK + 2)
    for paths in true:
        cv2.polylines(halo, paths, True, 255, _THICK)
    picture[halo > 0] = picture[halo > 0] // 2
    for index, paths in enumerate(dashed):
        cv2.polylines(picture, paths, False, color_of(index), _THICK)
    for index, paths in enumerate(true):
        cv2.polylines(picture, paths, True, color_of(index), 1)
    return picture


def _stretch(image: AnyArray) -> Picture:
    """``[H, W, 3]`` uint8, black and white at the 0.5th and 99.5th percentile of the finite values."""
    if image.ndim == 3 and image.shape[2] != 3:
        image = image[..., 0]
    values = image.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 0.0)
    if high <= low and finite.size:
        low, high = float(finite.min()), float(finite.max())
    scaled = np.nan_to_num((values - low) / max(float(high - low), 1e-12), nan=0.0, posinf=1.0, neginf=0.0)
    grey = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def _enlarge(mask: AnyArray, size: tuple[int, int]) -> AnyArray:
    """``[H, W, K]`` to ``[h, w, K]``: each pixel takes the value below its centre, as the slice's own resizing does."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(size, mask.shape[:2], strict=True)
    )
    enlarged: AnyArray = mask[rows[:, None], columns[None, :]]
    return enlarged


def _borders(masks: BoolArray) -> list[list[NDArray[np.int32]]]:
    """The outermost pixels of each class's regions and holes, as closed paths; masks ``[h, w, K]``."""
    paths = []
    for index in range(masks.shape[-1]):
        mask = np.ascontiguousarray(masks[..., index], dtype=np.uint8)
        found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        paths.append([np.asarray(path, dtype=np.int32) for path in found])
    return paths


def _dashes(border: list[NDArray[np.int32]]) -> list[NDArray[np.int32]]:
    """The paths cut into dashes."""
    return [path[start : start + DASH] for path in border for start in range(0, len(path), DASH + GAP)]


def _hatch(picture: Picture, where: BoolArray) -> None:
    """Draw diagonal lines over part of a picture, in place."""
    rows, columns = np.indices(where.shape)
    stripes = where & ((rows + columns) % 8 < 2)
    picture[stripes] = picture[stripes] // 2 + 90
