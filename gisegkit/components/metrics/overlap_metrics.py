"""Built-in metrics. Each states its unit and what it does when truth, prediction or both are empty."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from gisegkit.components.metrics.distances import class_boxes, hausdorff, slice_boxes
from gisegkit.data.planes import count

if TYPE_CHECKING:
    from gisegkit.types import BoolArray, FloatArray

BOTH_EMPTY = {"skip": math.nan, "one": 1.0, "zero": 0.0}


class _Overlap:
    """What metrics of overlapping pixels have in common.

    Args:
        unit: what one value is computed for, besides a class: each slice, or each whole scan.
        empty: the value where prediction and truth are both empty: skip leaves it out of every mean, one and zero
            count it as 1 or 0.
    """

    higher_is_better = True
    bounds = (0.0, 1.0)
    part: str
    title: str

    def __init__(
        self, *, unit: Literal["slice", "scan"] = "slice", empty: Literal["skip", "one", "zero"] = "skip"
    ) -> None:
        self.unit = unit
        self.empty = empty
        self.convention = f"{self.title} per {unit} and class, {both_empty(empty)}, one empty 0"

    def __call__(self, prediction: BoolArray, truth: BoolArray) -> Mapping[str, FloatArray]:
        intersection, pixels = _counts(prediction, truth, self.unit)
        numerator, denominator = self._ratio(intersection, pixels)
        values = np.full(denominator.shape, BOTH_EMPTY[self.empty])
        np.divide(numerator, denominator, out=values, where=denominator > 0)
        return {self.part: values}

    def combine(self, means: Mapping[str, float]) -> float:
        return means[self.part]

    def _ratio(self, intersection: FloatArray, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Numerator and denominator, from the pixels of the intersection and those of prediction plus truth."""
        raise NotImplementedError


class Dice(_Overlap):
    """Dice coefficient 2 |P ∩ T| / (|P| + |T|), averaged over slices or scans, and classes.

    Where only one of prediction and truth is empty it is 0.

    Paper: Dice, Measures of the amount of ecologic association between species, doi:10.2307/1932409
    """

    part, title = "dice", "Dice"

    def _ratio(self, intersection: FloatArray, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        return 2 * intersection, pixels


class IoU(_Overlap):
    """Intersection over union |P ∩ T| / |P ∪ T| (Jaccard index), averaged over slices or scans, and classes.

    Where only one of prediction and truth is empty it is 0.

    Paper: Jaccard, The distribution of the flora in the alpine zone, doi:10.1111/j.1469-8137.1912.tb05611.x
    """

    part, title = "iou", "IoU"

    def _ratio(self, intersection: FloatArray, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        return intersection, pixels - intersection


class UWMGIScore:
    """The UW-Madison GI tract competition's score: 0.4 Dice + 0.6 (1 - normalized Hausdorff distance).

    Dice is per slice and class. The Hausdorff distance is symmetric, on all voxels, with a slice depth of 1 whatever
    the spacing. Where only one of prediction and truth is empty, Dice is 0 and the distance 1. The competition's
    server code was never published and public implementations differ by up to 0.3 on one prediction: compare scores
    of one convention only. The defaults follow the official text and the host's answers. ``hausdorff_classes =
    "merged"`` is mle-bench's grader (but for its shortcut where a prediction is over 10 times the truth).
    ``hausdorff_unit = "slice"``, ``hausdorff_norm = "diagonal"`` and ``hausdorff_empty = "zero"`` give the distance
    that the first-place team used locally.

    Args:
        dice_empty: Dice where prediction and truth are both empty: left out of the mean, 1, or 0.
        hausdorff_unit: a distance in 3D for each scan, or in 2D for each slice.
        hausdorff_norm: per_axis divides coordinates by the image size of their axis and distances by √3 (√2 in a
            slice); diagonal divides distances in voxels by the diagonal of the scan (the slice).
        hausdorff_empty: the distance where prediction and truth are both empty: left out of the mean, or 0.
        hausdorff_classes: a distance for each class, or one for the union of all classes.

    Paper: UW-Madison GI Tract Image Segmentation, kaggle.com/competitions/uw-madison-gi-tract-image-segmentation
    """

    higher_is_better = True
    bounds = (0.0, 1.0)
    part_directions: ClassVar[Mapping[str, bool]] = {"dice": True, "hausdorff": False}

    def __init__(
        self,
        *,
        dice_empty: Literal["skip", "one", "zero"] = "skip",
        hausdorff_unit: Literal["scan", "slice"] = "scan",
        hausdorff_norm: Literal["per_axis", "diagonal"] = "per_axis",
        hausdorff_empty: Literal["skip", "zero"] = "skip",
        hausdorff_classes: Literal["each", "merged"] = "each",
    ) -> None:
        self.dice = Dice(unit="slice", empty=dice_empty)
        self.unit = hausdorff_unit
        self.norm = hausdorff_norm
        self.empty = hausdorff_empty
        self.classes = hausdorff_classes
        where = "3D with slice depth 1, per scan" if hausdorff_unit == "scan" else "2D, per slice"
        whose = "and class" if hausdorff_classes == "each" else "with all classes merged"
        root = "√3" if hausdorff_unit == "scan" else "√2"
        divided = f"size per axis and {root}" if hausdorff_norm == "per_axis" else "diagonal in voxels"
        self.convention = (
            f"0.4 Dice + 0.6 (1 - Hausdorff); {self.dice.convention}; Hausdorff in {where} {whose}, symmetric, "
            f"divided by {divided}, {both_empty(hausdorff_empty)}, one empty 1"
        )

    def __call__(self, prediction: BoolArray, truth: BoolArray) -> Mapping[str, FloatArray]:
        return {**self.dice(prediction, truth), "hausdorff": self._hausdorff(prediction, truth)}

    def combine(self, means: Mapping[str, float]) -> float:
        return 0.4 * means["dice"] + 0.6 * (1 - means["hausdorff"])

    def _hausdorff(self, prediction: BoolArray, truth: BoolArray) -> FloatArray:
        """``[K]`` or ``[D, K]``; a merged value stands for every class, so that the mean over classes is the value."""
        depth, height, width, classes = prediction.shape
        if self.classes == "merged":
            prediction, truth = _union(prediction), _union(truth)
        if self.unit == "scan":
            values = np.array(self._distances(class_boxes(prediction, truth), (depth, height, width)))
        else:
            values = np.array([self._distances(pairs, (height, width)) for pairs in slice_boxes(prediction, truth)])
        return np.broadcast_to(values, (*values.shape[:-1], classes)).copy()

    def _distances(self, pairs: Iterable[tuple[BoolArray, BoolArray]], size: Sequence[int]) -> list[float]:
        """Normalized to [0, 1] by the size of the scan, or of the slice, that the pairs were cut out of."""
        if self.norm == "per_axis":
            spacing, longest = [1 / voxels for voxels in size], math.sqrt(len(size))
        else:
            spacing, longest = [1.0] * len(size), math.hypot(*size)
        found = [hausdorff(p, t, spacing=spacing) / longest for p, t in pairs]
        return [BOTH_EMPTY[self.empty] if math.isnan(value) else min(value, 1.0) for value in found]


def both_empty(empty: str) -> str:
    """What a convention says of masks that are both empty."""
    return "both empty skipped" if empty == "skip" else f"both empty {BOTH_EMPTY[empty]:.0f}"


def _counts(prediction: BoolArray, truth: BoolArray, unit: str) -> tuple[FloatArray, FloatArray]:
    """Pixels of the intersection, and of prediction plus truth: ``[D, K]`` for slices, ``[K]`` for scans."""
    intersection = count(prediction & truth).astype(np.float64)
    pixels = (count(prediction) + count(truth)).astype(np.float64)
    return (intersection, pixels) if unit == "slice" else (intersection.sum(axis=0), pixels.sum(axis=0))


def _union(mask: BoolArray) -> BoolArray:
    """``[D, H, W, K]`` to ``[D, H, W, 1]``: where any class is."""
    union: BoolArray = functools.reduce(np.logical_or, np.moveaxis(mask, 3, 0))[..., None]
    return union
