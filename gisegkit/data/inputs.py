"""A dataset's slices by row: as the network gets them, and their masks; Preprocess does the work."""

from __future__ import annotations

import numpy as np

from gisegkit.data.preprocess import CropPreprocess
from gisegkit.data.reading import check_size, read_mask
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.store import Store
from gisegkit.types import FloatArray, MaskArray


class Input:
    """The samples of a dataset by row.

    Args:
        reader: finds the images of a row's stack; its ``preprocess`` brings them to the network.
    """

    def __init__(self, reader: SliceReader) -> None:
        self.reader = reader
        self.dataset = reader.dataset
        self.preprocess = reader.preprocess
        self._native = self.dataset.table[["height", "width"]].to_numpy(dtype=np.int64)

    def native(self, row: int) -> tuple[int, int]:
        """H and W of a row's slice, in pixels."""
        height, width = self._native[row].tolist()
        return height, width

    def image(self, row: int) -> FloatArray:
        """``[h, w, C]`` float32 at the network's size."""
        return self.reader.read(row)

    def mask(self, row: int) -> MaskArray:
        """``[h, w, K]`` uint8 at the network's size, with IGNORE."""
        store = self._sized(row)
        if store is not None:
            return store.mask(row, "sized")
        return self.preprocess.geometry(self.native(row)).mask(self.truth(row))

    def planes(self, row: int) -> MaskArray:
        """As ``mask``, but ``[K, h, w]``, and contiguous: a loss adds up in the order of its target in memory."""
        store = self._sized(row)
        return np.ascontiguousarray(self.mask(row).transpose(2, 0, 1)) if store is None else store.planes(row, "sized")

    def sample(self, row: int, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """What a network trains on of a row: image ``[h, w, C]`` float32 and mask ``[h, w, K]`` uint8.

        Args:
            rng: for what is drawn: the place of a crop, the same for every slice of a stack. Nothing of a whole slice.
        """
        if not isinstance(self.preprocess, CropPreprocess):
            return self.image(row), self.mask(row)
        truth = self.truth(row)
        crop = self.preprocess.crop(truth, rng)
        return self.reader.read(row, crop=crop), crop.mask(truth)

    def truth(self, row: int) -> MaskArray:
        """``[H, W, K]`` uint8 at the native size, with IGNORE."""
        store = self.reader.store
        if store is not None and store.has(row):
            return store.mask(row, "native")
        mask = read_mask(self.dataset, row)
        check_size(self.dataset, row, mask=mask)
        return mask

    def _sized(self, row: int) -> Store | None:
        """The store, where it holds this row at the network's size already."""
        store = self.reader.store
        return store if store is not None and store.layout.size is not None and store.has(row) else None
