"""Masks of two values with smoothed edges, such as from JPEG: one class from a threshold on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.build.draft.layouts import Layout
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import read_image
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

SMOOTH = 4
"""Values between two, from which on the masks' edges look smoothed."""

FEW = 0.02
"""Pixels between two values over those of the higher one, of lossy masks that hold nothing but the two."""

LOOKED = 50
"""Masks that are looked at."""


def smoothed(layout: Layout) -> Layout | None:
    """The layout with one class from a threshold on, if its masks are of two values with smoothed edges, else None.

    Only the first masks are looked at: as many as ``LOOKED``, spread over all.
    """
    chosen = layout.files[:: max(1, len(layout.files) // LOOKED)]
    table = "table" in layout.dataset
    masks = Path("mask" if table else layout.dataset.get("masks", "masks"))
    if not masks.name:
        return None  # masks are beside their images, where no folder names the class
    counts, lossy = np.zeros(256, dtype=np.int64), False
    for file in chosen:
        with suppress(DataError):  # told by whoever reads all of them
            values = read_image(file, alpha="drop", page=0)
            if values.ndim == 3 or values.dtype != np.uint8:
                return None
            counts += np.bincount(values.reshape(-1), minlength=256)
            lossy |= read_header(file).lossy
    threshold = threshold_of(counts, lossy=lossy)
    if not threshold:
        return None
    keys = {"classes": [masks.name], "threshold": threshold} | ({} if table else {"masks": masks.parent.as_posix()})
    ask = f"masks are smoothed or from JPEG; I take values of {threshold} or more for one class, {masks.name}"
    return layout._replace(dataset={**layout.dataset, **keys}, asks=(*layout.asks, ask))


def threshold_of(counts: AnyArray, *, lossy: bool = False) -> int:
    """The middle of two values with smoothed edges between them; 0 if the values are not such.

    Args:
        counts: ``[256]``, pixels of each value.
        lossy: whether the files' compression changed values, so that values near the two are no others.
    """
    there = np.flatnonzero(counts)
    largest = int(there[-1]) if len(there) else 0
    middle, high = counts[largest // 4 + 1 : 3 * largest // 4], int(counts[3 * largest // 4 :].sum())
    if lossy and middle.sum() <= FEW * high:
        return (largest + 1) // 2
    if len(there) < 2 + SMOOTH or (middle > 0).sum() < SMOOTH or not high > middle.sum():
        return 0
    near = np.convolve(middle, np.ones(max(1, largest // 16), dtype=np.int64))
    return (largest + 1) // 2 if 2 * near.max() <= middle.sum() else 0  # a third value would stand out
