"""The section of a recipe that says which slices train and which validate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gisegkit.types import AtLeast


@dataclass(frozen=True)
class Split:
    """``[split]``: which slices train and which validate.

    Args:
        folds: number of parts; 1 trains and validates on everything (to see whether a model can learn at all).
        fold: the part that validates, counted from 0; "all" or a list such as [0, 2] trains a run for each of them,
            and every case is scored by the run that has not seen it.
        group: what is never torn apart: all scans of a case, one scan, or single slices.
        stratify: keep the share of empty slices alike in all folds, or do not.
        subset: slices that train: all, or only annotated ones. Validation always uses all.
        seed: another one gives other folds; the recipe's own seed leaves them, so that runs stay comparable.
    """

    folds: Annotated[int, AtLeast(1)] = 5
    fold: Annotated[int, AtLeast(0)] | Literal["all"] | tuple[Annotated[int, AtLeast(0)], ...] = 0
    group: Literal["case", "scan", "slice"] = "case"
    stratify: Literal["empty", "none"] = "empty"
    subset: Literal["all", "annotated"] = "all"
    seed: int = 0

    @property
    def chosen(self) -> tuple[int, ...]:
        """The folds that validate, each in a run of its own."""
        if self.fold == "all":
            return tuple(range(self.folds))
        return (self.fold,) if isinstance(self.fold, int) else tuple(map(int, self.fold))

    @property
    def several(self) -> bool:
        """Whether the recipe asks for a run for each of some folds, even if it is one."""
        return not isinstance(self.fold, int)
