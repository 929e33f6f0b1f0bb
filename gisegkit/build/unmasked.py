"""A dataset for networks of other classes, of which only the images are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, Dataset, MaskArray


class Unmasked:
    """The same slices, see ``gisegkit.types.Dataset``; their masks are empty. It cannot be prepared.

    Args:
        dataset: whose slices these are.
        classes: names of the K classes.
    """

    def __init__(self, dataset: Dataset, classes: Sequence[str]) -> None:
        self._dataset = dataset
        self.classes = tuple(classes)

    def __getattr__(self, name: str) -> Any:
        if name == "sources":  # by which a store would take these masks for the dataset's
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def image(self, row: int) -> AnyArray:
        """As of the dataset."""
        return self._dataset.image(row)

    def mask(self, row: int) -> MaskArray:
        """``[H, W, K]``, without a pixel."""
        height, width = (int(self._dataset.table[name].iloc[row]) for name in ("height", "width"))
        return np.zeros((height, width, len(self.classes)), np.uint8)
