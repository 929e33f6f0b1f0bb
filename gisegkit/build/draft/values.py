"""The classes of a folder: names, or the values or colors in its label files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from gisegkit.build.draft.layouts import Layout
from gisegkit.build.draft.smoothed import smoothed
from gisegkit.data.findings import FileError
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import colors_of, read_image, read_values
from gisegkit.data.masks import hexadecimal
from gisegkit.errors import DataError, count, listed
from gisegkit.types import Progress, silent

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

MOST_VALUES = 64
"""More label values are no classes: they are numbers of objects, or the gray borders of a smoothed mask."""

MOST_COLORS = 16
"""The same for colors."""

VOID = 255
"""The value that Pascal VOC and many after it give to pixels which nobody has judged."""


Source = Literal["values", "alpha"]


class Seen(NamedTuple):
    """What label files hold.

    Attributes:
        values: pixels of each value in files that are gray.
        colors: pixels of each color, such as ``#ff0000``, in all files; empty if all are gray.
    """

    values: Counter[int]
    colors: Counter[str]


def values_of(files: Sequence[Path], *, source: Source = "values", progress: Progress = silent) -> Seen:
    """The values and colors in label files; every file is read, because a value that is missed is an error.

    Raises:
        DataError: if a file cannot be read, holds no whole numbers, or there are too many values or colors.
    """
    counts: Counter[int] = Counter()
    colors: Counter[str] = Counter()
    for file in progress(files, "masks", len(files)):
        for page in range(read_header(file).pages):
            _count(file, page, counts, colors, source)
    if colors:
        for value, number in counts.items():
            colors[hexadecimal(np.array([value] * 3))] += number
    return Seen(counts, colors)


def _count(file: Path, page: int, counts: Counter[int], colors: Counter[str], source: Source) -> None:
    mask = read_values(file, source=source, page=page)
    if mask.dtype.kind not in "iu":
        raise DataError(f"{file}: has values of type {mask.dtype}; save masks with whole numbers")
    if mask.ndim == 3 and (mask == mask[:, :, :1]).all():
        mask = mask[:, :, 0]
    if mask.ndim == 3:
        found, numbers = np.unique(colors_of(file, page=page).reshape(-1, 3), axis=0, return_counts=True)
        if len(found) <= 2**12:
            colors.update(dict(zip(map(hexadecimal, found), numbers.tolist(), strict=True)))
        _refuse_many(file, found, colors, MOST_COLORS, "colors")
    else:
        values, numbers = np.unique(mask, return_counts=True)
        counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
        _refuse_many(file, values, counts, MOST_VALUES, "values")


def _refuse_many(file: Path, found: AnyArray, counts: Counter[Any], most: int, what: str) -> None:
    if max(len(found), len(counts)) <= most:
        return
    option = "dataset.colors and dataset.tolerance" if what == "colors" else "dataset.classes and dataset.threshold"
    raise DataError(
        f"{file}: with it the masks hold more than {most} {what} ({listed(sorted(counts))}), which are no classes: if "
        f"they number objects, save 0 and 1 instead; if borders are smoothed, as in a JPEG file, write {option} by hand"
    )


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
        others = "1" if len(classes) == 1 else f"1 to {len(classes)}"
        why.append(f"{VOID} beside {others} usually marks pixels that nobody has judged, so it is ignored.")
        asks.append(f"I take the value {VOID} for pixels to ignore; if it is a class, move it to dataset.labels")
    if 0 not in values:
        asks.append(
            "every pixel of the masks belongs to a class; if a value is the background, move it from dataset.labels to "
            "dataset.background"
        )
    labels = {named.get(value, f"class_{value}"): value for value in classes}
    asks += _unnamed([name for name, value in labels.items() if value not in named], "labels")
    return {"labels": labels, **table}, why, asks


def color_table(counts: Counter[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """The same from the colors of masks; black is background.

    Raises:
        DataError: if the masks hold nothing but black.
    """
    colors = {f"class_{color.removeprefix('#')}": color for color in sorted(counts) if color != "#000000"}
    if not colors:
        raise DataError("the masks are black, so that no pixel belongs to a class; are these the masks?")
    asks = _unnamed(list(colors), "colors")
    if "#000000" not in counts:
        asks.insert(0, "no pixel of the masks is black; if a color is the background, rename its class to background")
    return {"colors": colors}, [f"Masks are in color: {', '.join(sorted(counts))}."], asks


def _unnamed(names: list[str], key: str) -> list[str]:
    if not names:
        return []
    verb = "is" if len(names) == 1 else "are"
    return [f"I cannot tell what {listed(names)} {verb}; name the classes as you like in dataset.{key}"]


def name_classes(layout: Layout, *, progress: Progress = silent) -> Layout:
    """The layout with its classes.

    Raises:
        DataError: as of ``values_of``, ``label_table`` and ``color_table``.
    """
    if smooth := smoothed(layout):
        return smooth
    if not layout.files:
        return layout
    try:
        seen = values_of(layout.files, progress=progress)
    except FileError as error:
        if error.kind != "alpha channel of a mask" or not all(map(_one_color, layout.files)):
            raise
        seen = values_of(layout.files, source="alpha", progress=progress)
        ask = "masks are transparent and of one color; I take their shapes from the alpha channel"
        layout = layout._replace(dataset={**layout.dataset, "mask_from": "alpha"}, asks=(*layout.asks, ask))
    table, why, asks = color_table(seen.colors) if seen.colors else label_table(seen.values, layout.named)
    dataset = {**layout.dataset, **table}
    return layout._replace(dataset=dataset, why=(*layout.why, *why), asks=(*layout.asks, *asks))


def _one_color(file: Path) -> bool:
    """Whether all pixels that can be seen have one color, so that only the transparency of a file tells anything."""
    pixels = read_image(file, alpha="channel")
    if pixels.ndim < 3:
        return False
    return len(np.unique(pixels[pixels[:, :, -1] > 0][:, :-1], axis=0)) <= 1


def without_alpha(layout: Layout, images: int) -> Layout:
    """The layout without the transparency of images, of which so many are not opaque."""
    ask = (
        f"{count(images, 'image is', 'images are')} partly transparent; I leave the transparency out; if it is a "
        'band, set dataset.alpha = "channel"'
    )
    return layout._replace(dataset={**layout.dataset, "alpha": "drop"}, asks=(*layout.asks, ask))
