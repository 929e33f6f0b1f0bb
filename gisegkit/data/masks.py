"""How the values or colors of mask files become planes of classes; what may be no mask is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from gisegkit.data.findings import FileError
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import colors_of, read_values
from gisegkit.errors import DataError, listed
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, BoolArray, MaskArray

RESERVED = ("background", "ignore")
"""Names in a table of colors that are no classes."""

MANY = 8
"""Distinct values between background and a largest value, from which on they look like the edges of a drawing."""

FADED = 0.7
"""Mean value at the edges over that further inside, below which a mask looks smoothed. Numbers of objects have 0.83
or more, even if small objects have the small numbers."""

ALIKE = 0.7
"""Share of neighbors of one value, from which on a mask holds numbers of objects; those of 4 x 4 pixels have 0.75."""

Shape = tuple[int, int]


@dataclass(frozen=True)
class MaskRule:
    """What the values of masks mean, see the dataset ``folder`` for the fields."""

    labels: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    colors: dict[str, tuple[int, ...]] = field(default_factory=dict)
    tolerance: float = 0.0
    threshold: int = 0
    background: tuple[int, ...] = (0,)
    ignore: tuple[int, ...] = ()
    source: Literal["values", "alpha"] = "values"

    def mask(self, files: Sequence[Path | None], shape: Shape, image: Path, *, page: int | None) -> MaskArray:
        """``[H, W, K]`` uint8: 0, 1, or IGNORE; a file that is None has no pixel of its class.

        Raises:
            DataError: if a file cannot be read, has another size than its image, or a value that nothing explains.
        """
        if self.colors:
            return self._by_color(files[0], shape, image, page)
        values = [self._values(file, shape, image, page) for file in files]
        if self.labels:
            self._refuse_unexplained(files[0], values[0])
            planes = [values[0] == value for value in self.labels.values()]
        else:
            planes = [self._inside(file, plane) for file, plane in zip(files, values, strict=True)]
        mask = np.stack(planes, axis=-1).astype(np.uint8)
        for plane in values if self.ignore else ():
            mask[np.isin(plane, self.ignore)] = IGNORE
        return mask

    def _values(self, file: Path | None, shape: Shape, image: Path, page: int | None) -> AnyArray:
        """The values of one mask file, ``[H, W]``."""
        if file is None:
            return np.full(shape, self.background[0] if self.background else 0, dtype=np.int64)
        self._refuse_lossy(file)
        values = read_values(file, source=self.source, page=page)
        if values.ndim == 3:
            if (values != values[:, :, :1]).any():
                raise FileError(
                    "color mask",
                    f"{file}: is a color image; tell what its colors mean with dataset.colors, or save it as one "
                    "channel of label values",
                )
            values = values[:, :, 0]
        if values.dtype.kind not in "iu":
            raise FileError(
                "mask of fractions", f"{file}: has values of type {values.dtype}; save the mask with whole numbers"
            )
        _refuse_size(file, values.shape[:2], shape, image)
        return values

    def _refuse_lossy(self, file: Path) -> None:
        header = read_header(file)
        if header.lossy and not self.threshold and not (self.colors and self.tolerance):
            lossy = "compression in a TIFF file" if header.format == "TIFF" else header.format
            way = "dataset.tolerance" if self.colors else "dataset.threshold, with dataset.classes,"
            raise FileError(
                "lossy mask",
                f"{file}: {lossy} changes the values of a mask; save masks as PNG, or let {way} say where "
                "a class begins",
            )

    def _inside(self, file: Path | None, values: AnyArray) -> AnyArray:
        """Where the class of a file of its own is."""
        if self.threshold:
            return values >= self.threshold
        inside = ~np.isin(values, self.background)
        foreground = values[inside & ~np.isin(values, self.ignore)] if self.ignore else values[inside]
        if file is None or not len(foreground):
            return inside
        largest = foreground.max()
        between = np.unique(foreground[foreground != largest])
        full = int(np.iinfo(values.dtype).max) if values.dtype.kind == "u" else -1
        looks_drawn = len(between) >= MANY and (
            2 * (foreground == largest).sum() > len(foreground) or _fades(values, inside, int(largest))
        )
        if len(between) and (largest == full or looks_drawn):
            number = int((foreground != largest).sum())
            middle = max(1, (int(largest) + 1) // 2)
            raise FileError(
                "in-between values",
                f"{file}: {number:,} of {values.size:,} pixels ({number / values.size:.1%}) have values between "
                f"background and {largest} ({listed(between)}), as smoothed edges or a JPEG have; set "
                f"dataset.threshold = {middle} to take the class from there on (1 takes every value), or add them to "
                "dataset.background or dataset.ignore",
            )
        return inside

    def _refuse_unexplained(self, file: Path | None, values: AnyArray) -> None:
        known = [*self.labels.values(), *self.background, *self.ignore]
        explained = np.isin(values, known)
        if file is None or explained.all():
            return
        strange = ", ".join(map(str, np.unique(values[~explained])[:10]))
        every = np.unique(values)
        shown = ", ".join(map(str, every[:20])) + (f" ... ({len(every)} in all)" if len(every) > 20 else "")
        raise FileError(
            "unexplained value",
            f"{file}: has the value {strange}, which nothing explains; values found: {shown}; "
            f"labels = {self.labels}, background = {list(self.background)}, ignore = {list(self.ignore)}. Add it to "
            f"dataset.labels if it is a class, to dataset.background if it is none, or to dataset.ignore",
        )

    def _by_color(self, file: Path | None, shape: Shape, image: Path, page: int | None) -> MaskArray:
        """Each pixel belongs to the nearest color of the table, if that is no further than the tolerance."""
        names = [name for name in self.colors if name not in RESERVED]
        mask = np.zeros((*shape, len(names)), dtype=np.uint8)
        if file is None:
            return mask
        self._refuse_lossy(file)
        pixels = colors_of(file, page=page)
        _refuse_size(file, pixels.shape[:2], shape, image)
        table = dict(self.colors)
        if (0, 0, 0) not in table.values():
            table["black"] = (0, 0, 0)
        found, inverse = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
        distance = np.sqrt(((found[:, None].astype(np.int64) - np.array(list(table.values()))) ** 2).sum(axis=2))
        nearest = distance.argmin(axis=1)
        strange = distance.min(axis=1) > self.tolerance
        if strange.any():
            counts = np.bincount(inverse.reshape(-1), minlength=len(found))
            first = found[strange][counts[strange].argsort()[::-1]]
            number, every = int(counts[strange].sum()), inverse.size
            raise FileError(
                "unexplained color",
                f"{file}: {number:,} of {every:,} pixels ({number / every:.1%}) have a color that nothing explains "
                f"({listed(map(hexadecimal, first))}); add it to dataset.colors, under the name background if it is no "
                "class, or raise dataset.tolerance (the distance to the nearest color is up to "
                f"{distance.min(axis=1).max():.0f})",
            )
        chosen = np.array(list(table))[nearest][inverse.reshape(-1)].reshape(shape)
        for k, name in enumerate(names):
            mask[:, :, k] = chosen == name
        mask[chosen == "ignore"] = IGNORE
        return mask


def _fades(values: AnyArray, inside: BoolArray, largest: int) -> bool:
    """Whether values fall toward the edges of what is inside, pixel by pixel, as smoothed ones do.

    Numbers of objects do not, unless objects touch that are numbered from without; but most of their pixels have
    neighbors of their own number.
    """
    inner = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    if not inner.any():
        return False
    if values[inside & ~inner].mean() >= FADED * values[inner].mean():
        return False
    lesser = inside & (values != largest)
    pairs = [
        (one == other)[both]
        for one, other, both in (
            (values[1:], values[:-1], lesser[1:] & lesser[:-1]),
            (values[:, 1:], values[:, :-1], lesser[:, 1:] & lesser[:, :-1]),
        )
    ]
    return bool(np.concatenate(pairs).mean() < ALIKE)


def hexadecimal(color: AnyArray) -> str:
    """A color as recipes write it."""
    return "#" + "".join(f"{int(value):02x}" for value in color)


def parse_colors(colors: dict[str, str | list[int]]) -> dict[str, tuple[int, ...]]:
    """A recipe's table of colors as numbers.

    Raises:
        DataError: if an entry is no color, or two entries have one.
    """
    parsed: dict[str, tuple[int, ...]] = {}
    for name, color in colors.items():
        text = color.removeprefix("#") if isinstance(color, str) else ""
        try:
            values = tuple(bytes.fromhex(text)) if isinstance(color, str) else tuple(color)
        except ValueError:
            values = ()
        if len(values) != 3 or not all(0 <= value <= 255 for value in values):
            raise DataError(f'dataset.colors.{name} = {color!r} is no color; write "#ff0000" or [255, 0, 0]')
        twin = next((other for other, known in parsed.items() if known == values), None)
        if twin is not None:
            raise DataError(f"dataset.colors: {twin} and {name} have the same color {color!r}; a color has one meaning")
        parsed[name] = values
    if colors and not set(parsed) - set(RESERVED):
        raise DataError("dataset.colors names no class; give {NAME = COLOR}")
    return parsed


def _refuse_size(file: Path, found: Sequence[int], shape: Shape, image: Path) -> None:
    if tuple(found) == shape:
        return
    remedy = "make both of one size"
    if tuple(found) == shape[::-1] and image.is_file() and (turned := read_header(image).orientation) > 4:
        remedy = f"the image is turned by its tag of orientation ({turned}), and the mask is not: save both upright"
    raise FileError(
        "mask of another size",
        f"{file}: is {found[0]} x {found[1]} (height x width), but its image {image} is {shape[0]} x {shape[1]}; "
        f"{remedy}",
    )
