"""The classes of a folder: names, or the values in its label files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gisegkit.build.draft.layouts import Layout
from gisegkit.data.files import read_image
from gisegkit.errors import DataError, listed
from gisegkit.types import Progress, silent

MOST_VALUES = 64
"""More label values are no classes: they are numbers of objects, or the gray borders of a smoothed mask."""

VOID = 255
"""The value that Pascal VOC and many after it give to pixels which nobody has judged."""


def values_of(files: Sequence[Path], *, progress: Progress = silent) -> Counter[int]:
    """The number of pixels of each value in label files; reads every file, because a value that is missed is an error.

    Raises:
        DataError: if a file cannot be read, is in color, holds no whole numbers, or there are too many values.
    """
    counts: Counter[int] = Counter()
    for file in progress(files, "masks", len(files)):
        mask = read_image(file)
        if mask.ndim == 3 and (mask == mask[:, :, :1]).all():
            mask = mask[:, :, 0]
        if mask.ndim == 3:
            raise DataError(f"{file}: is in color; I read masks as one channel of label values")
        if mask.dtype.kind not in "iu":
            raise DataError(f"{file}: has values of type {mask.dtype}; save masks with whole numbers")
        values, numbers = np.unique(mask, return_counts=True)
        counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
        if len(counts) > MOST_VALUES:
            raise DataError(
                f"{file}: with it the masks hold more than {MOST_VALUES} values ({listed(sorted(counts))}), which are "
                "no classes: if they number objects, save 0 and 1 instead; if borders are smoothed, as in "
                "a JPEG file, save them without"
            )
    return counts


def label_table(counts: Counter[int], named: dict[int, str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Keys of ``[dataset]``, their reasons and what has to be asked, from the values of label files.

    Args:
        counts: pixels of each value.
        named: names of values that the folder tells.

    Raises:
        DataError: if the masks hold nothing but background.
    """
    values = sorted(counts)
    classes = [value for value in values if value != 0]
    if not classes:
        raise DataError("the masks hold only the value 0, so that no pixel belongs to a class; are these the masks?")
    table: dict[str, Any] = {}
    why = [f"Values in the masks: {', '.join(map(str, values))}."]
    asks = []
    if VOID in classes and VOID not in named and len(classes) > 1 and max(classes[:-1]) == len(classes) - 1:
        classes.remove(VOID)
        table["ignore"] = [VOID]
        why.append(f"{VOID} beside 1 to {len(classes)} usually marks pixels that nobody has judged, so it is ignored.")
        asks.append(f"I take the value {VOID} for pixels to ignore; if it is a class, move it to dataset.labels")
    if 0 not in values:
        asks.append(
            "every pixel of the masks belongs to a class; if a value is the background, move it from dataset.labels to "
            "dataset.background"
        )
    labels = {named.get(value, f"class_{value}"): value for value in classes}
    unnamed = [name for name, value in labels.items() if value not in named]
    if unnamed:
        verb = "is" if len(unnamed) == 1 else "are"
        asks.append(f"I cannot tell what {listed(unnamed)} {verb}; name the classes as you like in dataset.labels")
    return {"labels": labels, **table}, why, asks


def name_classes(layout: Layout, *, progress: Progress = silent) -> Layout:
    """The layout with its classes.

    Raises:
        DataError: as of ``values_of`` and ``label_table``.
    """
    if not layout.files:
        return layout
    table, why, asks = label_table(values_of(layout.files, progress=progress), layout.named)
    dataset = {**layout.dataset, **table}
    return layout._replace(dataset=dataset, why=(*layout.why, *why), asks=(*layout.asks, *asks))
