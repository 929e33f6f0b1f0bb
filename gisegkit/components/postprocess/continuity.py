"""Post-processing along a scan: a class continues from slice to slice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Literal

from gisegkit.components.postprocess.islands import of_class
from gisegkit.types import AtLeast

if TYPE_CHECKING:
    from gisegkit.types import BoolArray


class Continuity:
    """Closes short gaps of a class along the scan, and removes it from slices where it is nearly alone.

    A gap is a run of slices without the class between two slices that have it. Its slices get the pixels that the class
    has in both of these; none if there are no such pixels. Gaps are closed first, then runs are removed. Slices are
    taken in the order of their positions, whatever the distance between them.

    Args:
        fill: gaps of at most so many slices are closed; one number, or a table by class name. 0 closes none.
        remove: a class is removed from runs of at most so many slices, if the slices before and after have none of it;
            one number, or a table by class name. 0 removes none.
    """

    stage: Literal["probabilities", "masks"] = "masks"
    unit: Literal["slice", "scan"] = "scan"

    def __init__(
        self,
        *,
        fill: Annotated[int, AtLeast(0)] | dict[str, Annotated[int, AtLeast(0)]] = 1,
        remove: Annotated[int, AtLeast(0)] | dict[str, Annotated[int, AtLeast(0)]] = 0,
        classes: Sequence[str] = (),
    ) -> None:
        self.fill = of_class(fill, classes, key="fill")
        self.remove = of_class(remove, classes, key="remove")

    def __call__(self, scan: BoolArray) -> BoolArray:
        """``[D, H, W, K]`` bool to the same; the input stays as it is."""
        result = scan.copy()
        for k in range(scan.shape[3]):
            self._close(result[..., k], self.fill(k))
            for first, last, there in runs(result[..., k]):
                if there and last - first < self.remove(k):
                    result[first : last + 1, ..., k] = False
        return result

    @staticmethod
    def _close(masks: BoolArray, longest: int) -> None:
        """Close the gaps of a class ``[D, H, W]`` in place."""
        for first, last, there in runs(masks):
            inside = first > 0 and last < len(masks) - 1
            if not there and inside and last - first < longest:
                masks[first : last + 1] = masks[first - 1] & masks[last + 1]


def runs(masks: BoolArray) -> list[tuple[int, int, bool]]:
    """The first and the last slice of each run of slices ``[D, H, W]`` that have a class, or that do not."""
    numbered = enumerate(bool(mask.any()) for mask in masks)
    grouped = [(there, [d for d, _ in group]) for there, group in groupby(numbered, key=lambda pair: pair[1])]
    return [(slices[0], slices[-1], there) for there, slices in grouped]
