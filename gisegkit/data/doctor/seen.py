"""What the doctor looks at: a data set's table, the facts of its slices, and on which side of the split they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gisegkit.data.doctor.facts import SliceFacts

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.types import MaskArray


@dataclass(frozen=True)
class Seen:
    """A data set, as far as it was read.

    Attributes:
        table: the dataset's.
        classes: their names.
        facts: of the slices that were read, by row.
        mask: reads the mask of a labelled row, ``[H, W, K]``.
        parts: of rows that are on a side of the split: train, validation, test ...; empty if nothing is split yet.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    facts: Mapping[int, SliceFacts]
    mask: Callable[[int], MaskArray]
    parts: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def ids(self) -> list[str]:
        """Of every row."""
        return [str(name) for name in self.table["id"]]

    @cached_property
    def scans(self) -> list[str]:
        """Of every row."""
        return [str(name) for name in self.table["scan"]]

    @cached_property
    def cases(self) -> list[str]:
        """Of every row."""
        return [str(name) for name in self.table["case"]]

    @cached_property
    def labelled(self) -> list[bool]:
        """Of every row."""
        return [bool(value) for value in self.table["labelled"]]

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of every row, pixels."""
        return list(zip(self.table["height"].tolist(), self.table["width"].tolist(), strict=True))

    def with_class(self, row: int) -> bool:
        """Whether a slice has a pixel of any class, as far as it was read."""
        return any(self.facts[row].pixels or ())
