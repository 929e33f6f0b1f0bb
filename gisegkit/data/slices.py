"""The images that a network sees of a slice: the slice itself (2D) or with its neighbors as channels (2.5D).

Imports neither torch nor OpenCV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.intensities import UNITS, Limits, Scale, keeps_zero, limits_of, problem
from gisegkit.data.reading import (
    SHOWN,
    are_finite,
    check_size,
    image_name,
    name_of,
    raise_defect,
    read_slice,
    refuse_not_finite,
)  # fmt: skip
from gisegkit.errors import ComponentError, DataError, GisegError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gisegkit.data.crops import Crop
    from gisegkit.data.preprocess import Preprocess
    from gisegkit.data.store.store import Store
    from gisegkit.types import AnyArray, Dataset, FloatArray

EDGES = ("clamp", "zero")

NOTHING = (None, Scale(0.0, 1.0))
"""What a stack has where there is no slice."""


class SliceReader:
    """Finds the images of a slice and of its neighbors, which become channels, and the lines that normalize them.

    The neighbors are centered: for 3 slices and stride 2 they lie at the slice's position - 2, + 0, + 2, in that
    order. They never come from another scan. Where a position does not exist, at the ends of a scan or in a gap,
    ``edge`` decides.

    Args:
        dataset: the slices.
        slices: how many make a stack, an odd number.
        stride: positions from one to the next.
        edge: for a position that does not exist: ``clamp`` takes the slice nearest to it of those between the center
            and it, the center included; ``zero`` takes zeros.
        preprocess: what is done to a stack; its normalization maps the values of a slice, of a stack or of a scan.
        store: slices that are prepared already; the others are read from the dataset.

    Raises:
        DataError: if slices is even, a word is unknown, or the dataset's table is not sorted by scan and position.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        slices: int,
        stride: int,
        edge: str,
        preprocess: Preprocess,
        store: Store | None = None,
    ) -> None:
        if slices < 1 or slices % 2 == 0:
            raise DataError(f"input.slices = {slices}: the slice is in the middle of its stack; give an odd number")
        if stride < 1:
            raise DataError(f"input.stride = {stride}: give 1 or more")
        if edge not in EDGES:
            hint = did_you_mean(edge, EDGES)
            raise DataError(f"input.edge = {edge!r}: valid is {', '.join(EDGES)}; {hint}".rstrip("; "))
        normalization = preprocess.normalization
        over = getattr(normalization, "over", None)
        if over not in UNITS:
            valid = ", ".join(map(repr, UNITS))
            raise ComponentError(f"{name_of(normalization)} has over = {over!r}; valid is one of {valid}")
        self.dataset = dataset
        self.store = store
        self.edge = edge
        self.preprocess = preprocess
        self.normalization = normalization
        self.offsets = [step * stride for step in range(-(slices // 2), slices // 2 + 1)]
        self._positions = dataset.table["position"].to_numpy(dtype=np.int64)
        self._first, self._last = _scan_bounds(dataset, self._positions)
        self._scan_scales: dict[int, Scale] = {}  # by the scan's first row
        self._image_channels = 0

    @property
    def channels(self) -> int:
        """C of what ``read`` returns: slices times the channels of an image. Reads one image on first use."""
        if not self._image_channels:
            self._image_channels = self._raw(0).shape[2]
        return self._image_channels * len(self.offsets)

    def read(self, row: int, *, crop: Crop | None = None) -> FloatArray:
        """One slice's stack after ``preprocess``, ``[h, w, C]`` float32.

        Args:
            row: of the dataset's table.
            crop: the part of the images that is taken; default all of them.

        Raises:
            DataError: if a file cannot be read, has values that are not finite, another size than the table says, or
                another number of channels than the dataset's first.
        """
        images = self.images(row)
        found = [NOTHING if near is None else images[near] for near in self.neighbors(row)]
        stack, scales = zip(*found, strict=True)
        return self.preprocess(stack, scales, crop=crop).transpose(1, 2, 0)

    def neighbors(self, row: int) -> list[int | None]:
        """The rows of a row's stack in their order; None if it has zeros."""
        return [self._neighbor(row, offset) for offset in self.offsets]

    def images(self, row: int) -> dict[int, tuple[AnyArray, Scale]]:
        """The images of a row's stack by their rows, not normalized, each with the line that normalizes it.

        Raises:
            DataError: as of ``read``, or if a value is one that the normalization does not take.
            ComponentError: if the normalization gives no line.
        """
        images = {near: self._image(near) for near in self._nears(row)}
        limits = {near: self._limits(near, image) for near, image in images.items()}
        scales = self._scales(row, limits, images)
        problems = [line for near in images if (line := self._problem(near, limits[near], scales[near]))]
        if problems:
            raise DataError("\n".join(problems))
        return {near: (image, scales[near]) for near, image in images.items()}

    def refuse(self, rows: Iterable[int]) -> None:
        """Name the prepared images that the normalization does not take, as far as no pixel need be read for that.

        Raises:
            DataError: if there is one.
        """
        if self.store is None or not keeps_zero(self.normalization):
            return
        found: dict[int, str] = {}
        for row in rows:
            nears = self._nears(row)
            if all(self.store.has(near) for near in nears):
                limits = {near: self.store.limits(near) for near in nears}
                scales = self._scales(row, limits, {})
                found |= {near: line for near in nears if (line := self._problem(near, limits[near], scales[near]))}
        if found:
            lines = list(found.values())
            more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
            raise DataError("\n".join(lines[:SHOWN] + more))

    def _nears(self, row: int) -> list[int]:
        """The rows of a row's stack, each once."""
        return sorted({near for near in self.neighbors(row) if near is not None})

    def _neighbor(self, row: int, offset: int) -> int | None:
        """The row at a position relative to a row's, or what the edge rule gives."""
        target = self._positions[row] + offset
        first, last = int(self._first[row]), int(self._last[row])
        positions = self._positions[first : last + 1]
        if offset > 0:
            near = first + int(np.searchsorted(positions, target, side="right")) - 1
        else:
            near = first + int(np.searchsorted(positions, target, side="left"))
        if self._positions[near] != target and self.edge == "zero":
            return None
        return near

    def _image(self, row: int) -> AnyArray:
        """``[H, W, C]`` as the file has it, or as it is prepared."""
        image = self._raw(row)
        expected = self.channels // len(self.offsets)
        if image.shape[2] != expected:
            table = self.dataset.table["id"]
            raise DataError(
                f"image {table.iat[row]} has {image.shape[2]} channels, the dataset's first, {table.iat[0]}, has "
                f"{expected}; images of one dataset are all grey or all color"
            )
        if image.dtype.kind == "f" and not are_finite(*self._limits(row, image)[:2]):
            refuse_not_finite(self.dataset, [row])
        return image

    def _raw(self, row: int) -> AnyArray:
        if self.store is not None and self.store.has(row):
            return self.store.image(row)
        image = read_slice(self.dataset, row)
        check_size(self.dataset, row, image=image)
        return image

    def _scales(self, row: int, limits: Mapping[int, Limits], images: Mapping[int, AnyArray]) -> dict[int, Scale]:
        """The line of each image of a stack; what only divides needs no images, but their limits."""
        over = self.normalization.over
        if over == "slice":
            return {near: self._scale({near: own}, images) for near, own in limits.items()}
        if over == "stack":
            return dict.fromkeys(limits, self._scale(limits, images))
        first = int(self._first[row])
        if first not in self._scan_scales:
            whole: dict[int, Limits] = {}
            scan: dict[int, AnyArray] = {}
            for other in range(first, int(self._last[row]) + 1):
                image = self._image(other)
                whole[other] = self._limits(other, image)
                if not keeps_zero(self.normalization):  # else one image after another is enough
                    scan[other] = image
            self._scan_scales[first] = self._scale(whole, scan)
        return dict.fromkeys(limits, self._scan_scales[first])

    def _scale(self, limits: Mapping[int, Limits], images: Mapping[int, AnyArray]) -> Scale:
        """The line of a unit, the rows that ``limits`` names."""
        row = next(iter(limits))
        pixels = () if keeps_zero(self.normalization) else [images[near] for near in limits]
        try:
            return self.preprocess.scale(list(limits.values()), pixels)
        except ComponentError as error:
            raise ComponentError(f"{name_of(self.normalization)}, {image_name(self.dataset, row)}: {error}") from error
        except (GisegError, MemoryError):
            raise
        except Exception as error:
            raise_defect(self.normalization, "scale(unit)", str(self.dataset.table["id"].iat[row]), error)

    def _problem(self, row: int, limits: Limits, scale: Scale) -> str:
        found = problem(self.normalization, *limits[:2], scale)
        return f"{image_name(self.dataset, row)}, {name_of(self.normalization)}: {found}" if found else ""

    def _limits(self, row: int, image: AnyArray) -> Limits:
        if self.store is not None and self.store.has(row):
            return self.store.limits(row)
        return limits_of(image)


def _scan_bounds(dataset: Dataset, positions: AnyArray) -> tuple[AnyArray, AnyArray]:
    """For each row the first and the last row of its scan."""
    scans = dataset.table["scan"].to_numpy(dtype=str)
    changes = np.flatnonzero(scans[1:] != scans[:-1]) + 1
    starts = np.concatenate([[0], changes]).astype(np.int64)
    ends = np.concatenate([changes, [len(scans)]]).astype(np.int64) - 1
    rising = (np.diff(positions) > 0) | (scans[1:] != scans[:-1])
    if len(np.unique(scans)) != len(starts) or not rising.all():
        raise DataError("the dataset's table must be sorted by scan and position, with no position twice in a scan")
    lengths = ends - starts + 1
    return np.repeat(starts, lengths), np.repeat(ends, lengths)
