"""A dataset with its classes in another order, for a network that was trained with them in that order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, Dataset, MaskArray


class Reordered:
    """The same slices, see ``gisegkit.types.Dataset``; the classes of masks in another order.

    Args:
        dataset: whose slices these are.
        order: for each class here, its place in the dataset.
    """

    def __init__(self, dataset: Dataset, order: Sequence[int]) -> None:
        self._dataset = dataset
        self._order = list(order)
        self.classes = tuple(dataset.classes[at] for at in self._order)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def image(self, row: int) -> AnyArray:
        """As of the dataset."""
        return self._dataset.image(row)

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]``, the classes in the order of this one."""
        return np.ascontiguousarray(self._dataset.mask(row)[..., self._order])
