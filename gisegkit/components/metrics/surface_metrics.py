"""Metrics of surfaces in mm: how far prediction and truth lie apart where they end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from gisegkit.components.metrics.distances import class_boxes, slice_boxes, surface_distances
from gisegkit.components.metrics.overlap_metrics import BOTH_EMPTY, both_empty
from gisegkit.types import SPACING, Above

if TYPE_CHECKING:
    from gisegkit.types import BoolArray, FloatArray

ONE_EMPTY = {"skip": math.nan, "zero": 0.0}
"""Besides ``diagonal``, which depends on the scan."""


class _SurfaceMetric:
    """From masks to values in mm; a metric says what the value of two surfaces is, and that of empty masks."""

    part: str
    unit: str
    empty: str
    one_empty: str

    def __call__(
        self, prediction: BoolArray, truth: BoolArray, *, spacing: Sequence[float]
    ) -> Mapping[str, FloatArray]:
        size = prediction.shape[3 - len(spacing) : 3]
        diagonal = math.hypot(*(voxels * step for voxels, step in zip(size, spacing, strict=True)))

        def value(p: BoolArray, t: BoolArray) -> float:
            some = p.any(), t.any()
            if not any(some):
                return BOTH_EMPTY[self.empty]
            if not all(some):
                return ONE_EMPTY.get(self.one_empty, diagonal)
            return self._value(*surface_distances(p, t, spacing=spacing))

        if self.unit == "scan":
            values = np.array([value(p, t) for p, t in class_boxes(prediction, truth)])
        else:
            values = np.array([[value(p, t) for p, t in pairs] for pairs in slice_boxes(prediction, truth)])
        return {self.part: values}

    def combine(self, means: Mapping[str, float]) -> float:
        return means[self.part]

    @property
    def spacing_columns(self) -> tuple[str, ...]:
        return SPACING if self.unit == "scan" else SPACING[1:]

    def _value(self, forth: FloatArray, back: FloatArray) -> float:
        """From the distances of each surface's voxels to the other surface; neither is empty."""
        raise NotImplementedError


class _Distance(_SurfaceMetric):
    """A distance, of which less is better.

    Args:
        unit: what one value is computed for, besides a class: each whole scan, in 3D, or each slice, in 2D.
        empty: the value where prediction and truth are both empty: left out of every mean, or 0 mm.
        one_empty: the value where only one of them is empty: the diagonal of the scan (the slice), or left out, which
            rewards a model for finding nothing.
    """

    higher_is_better = False
    bounds = (0.0, math.inf)
    title: str

    def __init__(
        self,
        *,
        unit: Literal["scan", "slice"] = "scan",
        empty: Literal["skip", "zero"] = "skip",
        one_empty: Literal["diagonal", "skip"] = "diagonal",
    ) -> None:
        self.unit, self.empty, self.one_empty = unit, empty, one_empty
        other = "the diagonal" if one_empty == "diagonal" else "skipped"
        self.convention = f"{self.title}, {_place(unit)}, {both_empty(empty)}, one empty {other}"


class HD95(_Distance):
    """95th percentile of the distances between surfaces, in mm: the larger of the two directions.

    The surface are the voxels with a neighbor outside the mask (4 neighbors in a slice, 6 in a scan; what lies
    beyond the image is outside). Distances run between voxel centers, percentiles are interpolated linearly.

    Paper: Huttenlocher et al., Comparing images using the Hausdorff distance, doi:10.1109/34.232073
    """

    part = "hd95"
    title = "95th percentile of surface distances in mm"

    def _value(self, forth: FloatArray, back: FloatArray) -> float:
        return max(_percentile(forth), _percentile(back))


class ASSD(_Distance):
    """Average symmetric surface distance in mm: the mean over the voxels of both surfaces together.

    Surfaces and distances are those of ``hd95``.

    Paper: Heimann et al., Comparison and evaluation of methods for liver segmentation, doi:10.1109/TMI.2009.2013851
    """

    part = "assd"
    title = "mean of surface distances in mm, both surfaces"

    def _value(self, forth: FloatArray, back: FloatArray) -> float:
        return float((forth.sum() + back.sum()) / (len(forth) + len(back)))


class NSD(_SurfaceMetric):
    """Normalized surface Dice: the share of both surfaces' voxels that lie within a tolerance of the other surface.

    Surfaces and distances are those of ``hd95``: voxels are counted, not areas. Where only one of prediction and truth
    is empty it is 0.

    Args:
        tolerance: distance in mm up to which two surfaces count as one, such as the disagreement of two experts. The
            default is the distance of neighboring slices in the competition's scans.
        unit: what one value is computed for, besides a class: each whole scan, in 3D, or each slice, in 2D.
        empty: the value where prediction and truth are both empty: skip leaves it out of every mean, one and zero
            count it as 1 or 0.

    Paper: Nikolov et al., Clinically applicable segmentation of head and neck anatomy, doi:10.2196/26151
    """

    part = "nsd"
    one_empty = "zero"
    higher_is_better = True
    bounds = (0.0, 1.0)

    def __init__(
        self,
        *,
        tolerance: Annotated[float, Above(0)] = 3.0,
        unit: Literal["scan", "slice"] = "scan",
        empty: Literal["skip", "one", "zero"] = "skip",
    ) -> None:
        self.tolerance, self.unit, self.empty = tolerance, unit, empty
        place = f"{_place(unit)}, {both_empty(empty)}, one empty 0"
        self.convention = f"share of both surfaces within {tolerance:g} mm of the other, {place}"

    def _value(self, forth: FloatArray, back: FloatArray) -> float:
        limit = self.tolerance * (1 + 1e-9)  # a distance that equals the tolerance counts, however it was rounded
        near = np.count_nonzero(forth <= limit) + np.count_nonzero(back <= limit)
        return float(near / (len(forth) + len(back)))


def _percentile(distances: FloatArray) -> float:
    """The 95th, between the two nearest values as ``numpy.percentile`` takes it, which is slow for few values."""
    place = 0.95 * (len(distances) - 1)
    below = int(place)
    above = min(below + 1, len(distances) - 1)
    low, high = np.partition(distances, (below, above))[[below, above]].tolist()
    return float(low + (high - low) * (place - below))


def _place(unit: str) -> str:
    return "in 3D, per scan and class" if unit == "scan" else "in 2D, per slice and class"
