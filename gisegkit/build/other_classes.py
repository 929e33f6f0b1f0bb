"""A dataset as networks of other classes see it: its classes in another order, or none of its masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gisegkit.types import Dataset, MaskArray


class _Seen:
    """The same slices, see ``gisegkit.types.Dataset``, with other classes."""

    def __init__(self, dataset: Dataset, classes: Sequence[str]) -> None:
        self._dataset = dataset
        self.classes = tuple(classes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


class Reordered(_Seen):
    """The same slices, see ``gisegkit.types.Dataset``; the classes of masks in another order.

    Args:
        dataset: whose slices these are.
        order: for each class here, its place in the dataset.
    """

    def __init__(self, dataset: Dataset, order: Sequence[int]) -> None:
        super().__init__(dataset, [dataset.classes[at] for at in order])
        self._order = list(order)

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]``, the classes in the order of this one."""
        return np.ascontiguousarray(self._dataset.mask(row)[..., self._order])


class Unmasked(_Seen):
    """The same slices, see ``gisegkit.types.Dataset``; their masks are empty. It cannot be prepared.

    Args:
        dataset: whose slices these are.
        classes: names of the K classes.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "sources":  # by which a store would take these masks for the dataset's
            raise AttributeError(name)
        return super().__getattr__(name)

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]``, without a pixel."""
        height, width = (int(self._dataset.table[name].iloc[row]) for name in ("height", "width"))
        return np.zeros((height, width, len(self.classes)), np.uint8)
