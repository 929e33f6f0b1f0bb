"""Post-processing by pixels that touch, or by their number, in single slices or in whole scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import cv2
import numpy as np
from scipy import ndimage

from gisegkit.recipe.per_class import per_class
from gisegkit.types import AtLeast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gisegkit.types import AnyArray, BoolArray

V = TypeVar("V")

CHUNK = 2**24
"""Voxels that are counted at once; numpy takes 8 bytes for each on the way."""


class _ByUnit:
    """What cleans each class of a scan, slice by slice or as a whole."""

    stage: Literal["probabilities", "masks"] = "masks"
    unit: str

    def __call__(self, scan: BoolArray) -> BoolArray:
        """``[D, H, W, K]`` bool to the same; the input stays as it is."""
        result = scan.copy()
        for k in range(scan.shape[3]):
            if self.unit == "scan":
                box = bounds(scan[..., k])
                if box is not None:
                    result[..., k][box] = self.clean(np.ascontiguousarray(scan[..., k][box]), k)
                continue
            for d in range(len(scan)):
                plane = np.ascontiguousarray(scan[d, :, :, k])
                if plane.any():
                    result[d, :, :, k] = self.clean(plane, k)
        return result

    def clean(self, mask: BoolArray, k: int) -> BoolArray:
        """One class of a slice ``[H, W]`` or of a scan ``[D, H, W]``, which has some of it."""
        raise NotImplementedError


class MinArea(_ByUnit):
    """Removes islands of fewer pixels than a minimum from each class.

    Args:
        pixels: islands of at least this many pixels stay, at the scan's native size; one number, or a table by class
            name, such as { stomach = 50, default = 10 }.
        unit: an island is a set of pixels that touch within one slice, or within the scan.
        connectivity: whether pixels touch at sides and corners (8 neighbors in a slice, 26 in a scan), or only at sides
            (4 and 6).
    """

    def __init__(
        self,
        *,
        pixels: Annotated[int, AtLeast(1)] | dict[str, Annotated[int, AtLeast(1)]],
        unit: Literal["slice", "scan"] = "slice",
        connectivity: Literal["corners", "sides"] = "corners",
        classes: Sequence[str] = (),
    ) -> None:
        self.pixels = of_class(pixels, classes, key="pixels")
        self.unit = unit
        self.corners = connectivity == "corners"

    def clean(self, mask: BoolArray, k: int) -> BoolArray:
        labels, sizes = components(mask, corners=self.corners)
        stays = sizes >= self.pixels(k)
        stays[0] = False  # the background
        return picked(stays, labels)


class MinPixels(_ByUnit):
    """Removes a class from slices, or from scans, that have fewer of its pixels than a minimum.

    Nothing is removed of the others. So this says by the number of pixels which slices have a class at all, where
    ``min_area`` removes islands, also from slices with enough pixels.

    Args:
        pixels: a class stays where it has at least this many pixels, at the scan's native size; one number, or a table
            by class name, such as { stomach = 50, default = 10 }.
        unit: whether the pixels of a slice are counted, or those of the scan.
    """

    def __init__(
        self,
        *,
        pixels: Annotated[int, AtLeast(1)] | dict[str, Annotated[int, AtLeast(1)]],
        unit: Literal["slice", "scan"] = "slice",
        classes: Sequence[str] = (),
    ) -> None:
        self.pixels = of_class(pixels, classes, key="pixels")
        self.unit = unit

    def clean(self, mask: BoolArray, k: int) -> BoolArray:
        return mask if np.count_nonzero(mask) >= self.pixels(k) else np.zeros_like(mask)


class LargestComponent(_ByUnit):
    """Keeps the largest islands of each class and removes the others.

    Of islands of one size, those stay that come first, slice by slice and row by row.

    Args:
        count: so many islands stay; one number, or a table by class name. 0 leaves a class as it is.
        unit: an island is a set of pixels that touch within the scan, or within one slice.
        connectivity: whether pixels touch at sides and corners (8 neighbors in a slice, 26 in a scan), or only at sides
            (4 and 6).
    """

    def __init__(
        self,
        *,
        count: Annotated[int, AtLeast(0)] | dict[str, Annotated[int, AtLeast(0)]] = 1,
        unit: Literal["scan", "slice"] = "scan",
        connectivity: Literal["corners", "sides"] = "corners",
        classes: Sequence[str] = (),
    ) -> None:
        self.count = of_class(count, classes, key="count")
        self.unit = unit
        self.corners = connectivity == "corners"

    def clean(self, mask: BoolArray, k: int) -> BoolArray:
        labels, sizes = components(mask, corners=self.corners)
        if not self.count(k) or len(sizes) - 1 <= self.count(k):
            return mask
        _, first = np.unique(labels, return_index=True)  # OpenCV's labels are not in the order of the pixels
        largest = np.lexsort((first[1:], -sizes[1:]))[: self.count(k)] + 1
        stays = np.zeros(len(sizes), dtype=np.bool_)
        stays[largest] = True
        return picked(stays, labels)


class FillHoles(_ByUnit):
    """Fills the holes of each class: what is not of the class, and which the class surrounds.

    With exclusive classes, pixels of another class in a hole stay that class's.

    Args:
        largest: holes of at most so many pixels are filled; one number, or a table by class name. 0 leaves a class as
            it is. Without it, all are filled.
        unit: a hole is surrounded within its slice, or within the scan on all sides.
        connectivity: whether a class holds together at sides and corners, so that a hole cannot leak at a corner, or
            only at sides.
    """

    def __init__(
        self,
        *,
        largest: Annotated[int, AtLeast(0)] | dict[str, Annotated[int, AtLeast(0)]] | None = None,
        unit: Literal["slice", "scan"] = "slice",
        connectivity: Literal["corners", "sides"] = "corners",
        classes: Sequence[str] = (),
    ) -> None:
        self.largest = of_class(np.iinfo(np.int64).max if largest is None else largest, classes, key="largest")
        self.unit = unit
        self.corners = connectivity == "corners"

    def clean(self, mask: BoolArray, k: int) -> BoolArray:
        if not self.largest(k):
            return mask
        around = np.pad(~mask, 1, constant_values=True)
        labels, sizes = components(around, corners=not self.corners)
        filled = sizes <= self.largest(k)
        filled[labels[(0,) * labels.ndim]] = False  # the outside
        filled[0] = False  # the class itself
        return mask | picked(filled, labels[(slice(1, -1),) * labels.ndim])


class _PerClass:
    """A value of each class, or one of all."""

    def __init__(self, values: tuple[Any, ...], for_all: bool) -> None:
        self.values, self.for_all = values, for_all

    def __call__(self, k: int) -> Any:
        return self.values[0 if self.for_all else k]


def of_class(value: V | Mapping[str, V], classes: Sequence[str], *, key: str) -> _PerClass:
    """A parameter as a function of the class's number.

    Raises:
        DataError: if it names a class that the data do not have, or leaves one out.
    """
    if isinstance(value, dict):
        return _PerClass(per_class(value, classes, key=key), for_all=False)
    return _PerClass((value,), for_all=True)


def bounds(mask: BoolArray) -> tuple[slice, ...] | None:
    """The smallest box around a class of a scan, ``[D, H, W]``; None if it is empty."""
    used = [int(d) for d, plane in enumerate(mask) if plane.any()]
    if not used:
        return None
    flat = np.zeros(mask.shape[1:], dtype=np.bool_)
    for plane in mask[used[0] : used[-1] + 1]:
        flat |= plane
    rows, columns = (np.flatnonzero(flat.any(axis)) for axis in (1, 0))
    return slice(used[0], used[-1] + 1), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def components(mask: BoolArray, *, corners: bool) -> tuple[AnyArray, NDArray[np.int64]]:
    """The islands of a slice ``[H, W]`` or a scan ``[D, H, W]``: their labels from 1, and pixels by label."""
    if mask.ndim == 2:
        image = np.ascontiguousarray(mask, dtype=np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(image, connectivity=8 if corners else 4)
        return labels, stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    structure = ndimage.generate_binary_structure(3, 3 if corners else 1)
    labels, count = ndimage.label(mask, structure)
    flat, sizes = labels.ravel(), np.zeros(count + 1, dtype=np.int64)
    for start in range(0, flat.size, CHUNK):
        sizes += np.bincount(flat[start : start + CHUNK], minlength=count + 1)
    return labels, sizes


def picked(wanted: BoolArray, labels: AnyArray) -> BoolArray:
    """Where the label is wanted."""
    found: BoolArray = wanted[labels]
    return found
