"""The form in which slices are kept, and what there is of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gisegkit.machine import show_size


class Layout(NamedTuple):
    """The form in which slices are kept: native, or as the network sees them but for normalization.

    Attributes:
        size: height and width in pixels; None for native.
        resize, interpolation: as in ``[input]``; empty for native.
    """

    size: tuple[int, int] | None = None
    resize: str = ""
    interpolation: str = ""

    def __str__(self) -> str:
        return "native" if self.size is None else f"{self.size[0]}x{self.size[1]}-{self.resize}-{self.interpolation}"


@dataclass(frozen=True)
class Prepared:
    """What ``Store.prepare`` did: slices that were decoded now, slices that are there, and their bytes on the disk."""

    made: int
    slices: int
    size: int

    def __str__(self) -> str:
        return f"{self.slices} slices, {self.made} of them now, {show_size(self.size)}"
