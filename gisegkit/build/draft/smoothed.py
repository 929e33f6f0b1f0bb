"""Masks of two values with smoothed edges, such as from JPEG: one class from a threshold on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.build.draft.layouts import Layout
from gisegkit.build.draft.listing import list_images
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
    """The layout with a threshold, if its masks are of two values with smoothed edges, else None.

    Label files then hold one class. Only some masks are looked at, spread over all: as many as ``LOOKED``.
    """
    names = layout.dataset.get("classes")
    folder = Path(layout.dataset.get("root", "")) / layout.dataset.get("masks", "masks")
    files = layout.files or [file for name in names or () for file in list_images(folder / name).values()]
    table = "table" in layout.dataset
    masks = Path("mask" if table else layout.dataset.get("masks", "masks"))
    if not masks.name and not names:
        return None  # masks are beside their images, where no folder names the class
    threshold = _threshold(files[:: max(1, len(files) // LOOKED)])
    if not threshold:
        return None
    keys: dict[str, Any] = {"threshold": threshold}
    if not names:
        keys |= {"classes": [masks.name]} | ({} if table else {"masks": masks.parent.as_posix()})
    what = f"one class, {masks.name}" if not names else "the class"
    ask = f"masks are smoothed or from JPEG; I take values of {threshold} or more for {what}"
    return layout._replace(dataset={**layout.dataset, **keys}, asks=(*layout.asks, ask))


def _threshold(files: Sequence[Path]) -> int:
    """That of some masks; 0 if they are no such."""
    counts, lossy = np.zeros(256, dtype=np.int64), False
    for file in files:
        with suppress(DataError):  # told by whoever reads all of them
            values = read_image(file, alpha="drop", page=0)
            if values.ndim == 3 or values.dtype != np.uint8:
                return 0
            counts += np.bincount(values.reshape(-1), minlength=256)
            lossy |= read_header(file).lossy
    return threshold_of(counts, lossy=lossy)


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
