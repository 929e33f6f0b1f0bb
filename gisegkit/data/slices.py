"""What a network sees of a slice: the slice itself (2D) or with its neighbors as channels (2.5D), normalized.

Imports neither torch nor OpenCV.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.reading import are_finite, largest, read_slice, refuse_not_finite
from gisegkit.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from gisegkit.data.store.store import Store
    from gisegkit.types import AnyArray, Dataset, FloatArray

    Range = tuple[float, float]
    Resize = Callable[[int, AnyArray], AnyArray]

NORMALIZATIONS = (
    "slice_max", "stack_max", "scan_max", "slice_percentile", "stack_percentile", "scan_percentile", "dtype",
)  # fmt: skip
EDGES = ("clamp", "zero")

DIVISOR = 1e-8
"""What every value that is not refused can be divided by in float32."""


def _unchanged(row: int, image: AnyArray) -> AnyArray:
    return image


class SliceReader:
    """Reads a slice with its neighbors as channels.

    The neighbors are centered: for 3 slices and stride 2 they lie at the slice's position - 2, + 0, + 2, in that
    order. They never come from another scan. Where a position does not exist, at the ends of a scan or in a gap,
    ``edge`` decides.

    Args:
        dataset: the slices.
        slices: how many make a stack, an odd number.
        stride: positions from one to the next.
        edge: for a position that does not exist: ``clamp`` takes the slice nearest to it of those between the center
            and it, the center included; ``zero`` takes zeros.
        normalize: what brings values to about [0, 1]. ``*_max`` divides by the maximum; ``*_percentile`` maps the 1st
            to 99th percentile to [0, 1] and clips; both are taken from each ``slice``, from the ``stack`` or from the
            whole ``scan``. ``dtype`` divides by the largest value that the file's type can hold, and leaves floats as
            they are. A unit without any contrast (all zero; for percentiles all equal) becomes zeros.
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
        normalize: str,
        store: Store | None = None,
    ) -> None:
        if slices < 1 or slices % 2 == 0:
            raise DataError(f"input.slices = {slices}: the slice stands in the middle of its stack; give an odd number")
        if stride < 1:
            raise DataError(f"input.stride = {stride}: give 1 or more")
        for key, word, valid in (("edge", edge, EDGES), ("normalize", normalize, NORMALIZATIONS)):
            if word not in valid:
                hint = did_you_mean(word, valid)
                raise DataError(f"input.{key} = {word!r}: valid is {', '.join(valid)}; {hint}".rstrip("; "))
        self.dataset = dataset
        self.store = store
        self.edge = edge
        self.normalize = normalize
        self.offsets = [step * stride for step in range(-(slices // 2), slices // 2 + 1)]
        self._positions = dataset.table["position"].to_numpy(dtype=np.int64)
        self._first, self._last = _scan_bounds(dataset, self._positions)
        self._scan_ranges: dict[int, Range] = {}  # by the scan's first row
        self._image_channels = 0

    @property
    def channels(self) -> int:
        """C of what ``read`` returns: slices times the channels of an image. Reads one image on first use."""
        if not self._image_channels:
            self._image_channels = self._raw(0).shape[2]
        return self._image_channels * len(self.offsets)

    def read(self, row: int, *, resize: Resize = _unchanged) -> FloatArray:
        """One slice's stack, ``[H, W, C]`` float32, normalized.

        Args:
            row: of the dataset's table.
            resize: row and image ``[H, W, C]`` to the size of the stack; each image is resized by itself.

        Raises:
            DataError: if a file cannot be read, has values that are not finite, or another number of channels than
                the dataset's first.
        """
        rows = self.neighbors(row)
        scaled: dict[int, FloatArray] = {}
        for near, (image, limits) in self.images(row).items():
            plane = self.plane(near, image, limits, resize)
            scaled[near] = plane if self.clips else _divide(plane, self.divisor(limits))
        if len(rows) == 1:
            return scaled[row]
        nothing = np.zeros_like(scaled[row])
        stack: FloatArray = np.concatenate([nothing if near is None else scaled[near] for near in rows], axis=2)
        return stack

    def neighbors(self, row: int) -> list[int | None]:
        """The rows of a row's stack in their order; None if it has zeros."""
        return [self._neighbor(row, offset) for offset in self.offsets]

    def images(self, row: int) -> dict[int, tuple[AnyArray, Range]]:
        """The images of a row's stack by their rows, not normalized, each with the values that become 0 and 1."""
        nears = sorted({near for near in self.neighbors(row) if near is not None})
        images = {near: self._image(near) for near in nears}
        ranges = self._ranges(row, images)
        self._refuse_overflow(images, ranges)
        return {near: (image, ranges[near]) for near, image in images.items()}

    def plane(self, row: int, image: AnyArray, limits: Range, resize: Resize) -> AnyArray:
        """An image of a stack at the stack's size, normalized but for the division by ``divisor``.

        What percentiles cut off is cut off at native size. The other normalizations divide by what may differ from one
        stack to the next, so that this is the same in all of them.
        """
        return resize(row, _scale(image, *limits)) if self.clips else resize(row, image)

    def divisor(self, limits: Range) -> float:
        """What ``plane`` is still to be divided by; infinite where that leaves zeros."""
        if self.clips:
            return 1.0
        return limits[1] if limits[1] > 0 else math.inf

    @property
    def clips(self) -> bool:
        """Whether values beyond the range are cut off."""
        return self.normalize.endswith("percentile")

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
        return read_slice(self.dataset, row)

    def _ranges(self, row: int, images: dict[int, AnyArray]) -> dict[int, Range]:
        """For each image of a stack the values that become 0 and 1."""
        if self.normalize == "dtype":
            return {near: (0.0, self._limits(near, image)[2]) for near, image in images.items()}
        if self.normalize.startswith("slice"):
            return {near: self._range({near: image}) for near, image in images.items()}
        if self.normalize.startswith("stack"):
            return dict.fromkeys(images, self._range(images))
        first = int(self._first[row])
        if first not in self._scan_ranges:
            scan = range(first, int(self._last[row]) + 1)
            self._scan_ranges[first] = self._range({other: self._image(other) for other in scan})
        return dict.fromkeys(images, self._scan_ranges[first])

    def _range(self, images: dict[int, AnyArray]) -> Range:
        if self.clips:
            pixels = np.concatenate([image.reshape(-1) for image in images.values()])
            low, high = np.percentile(pixels, (1, 99))
            return float(low), float(high)
        return 0.0, max(self._limits(row, image)[1] for row, image in images.items())

    def _refuse_overflow(self, images: dict[int, AnyArray], ranges: dict[int, Range]) -> None:
        """Fractions may differ so little, or be so small, that dividing by them leaves nothing that is a number."""
        for row, (low, high) in ranges.items():
            if high <= low or high - low > DIVISOR:
                continue
            smallest, greatest, _ = self._limits(row, images[row])
            with np.errstate(all="ignore"):
                divisor = np.float32(high - low if self.clips else high)
                quotient = np.float32(max(abs(smallest), abs(greatest))) / divisor
            if not np.isfinite(quotient):
                raise DataError(
                    f"image {self.dataset.table['id'].iat[row]}: its values, {smallest:g} to {greatest:g}, are not "
                    f"finite once they are divided by {float(divisor):g} (input.normalize = {self.normalize!r}); "
                    "rescale the image, or choose another normalization"
                )

    def _limits(self, row: int, image: AnyArray) -> tuple[float, float, float]:
        """Smallest and largest value of an image as its file has it, and the largest that its type can hold."""
        if self.store is not None and self.store.has(row):
            return self.store.limits(row)
        return float(image.min()), float(image.max()), largest(image.dtype)


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


def _scale(image: AnyArray, low: float, high: float) -> FloatArray:
    """Low to 0 and high to 1, float32, the rest cut off; zeros if there is nothing between them."""
    if high <= low:
        return np.zeros(image.shape, dtype=np.float32)
    scaled: FloatArray = image.astype(np.float32)  # converted first: numpy does both at once only in small pieces
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    return scaled.clip(0, 1)


def _divide(image: AnyArray, divisor: float) -> FloatArray:
    quotient: FloatArray = image.astype(np.float32)
    quotient /= np.float32(divisor)
    return quotient
