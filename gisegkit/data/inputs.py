"""What brings a slice to the network: reading, normalizing, resizing, and the way back to its native size."""

from __future__ import annotations

import numpy as np

from gisegkit.data.crops import Crop, place, scaled, window_of
from gisegkit.data.geometry import Stretch, make_geometry
from gisegkit.data.reading import check_size, read_mask
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.store import Store
from gisegkit.types import AnyArray, Dataset, FloatArray, Geometry, MaskArray


class Input:
    """Brings a slice to the network: reads the stack, normalizes, resizes.

    Args:
        dataset: the slices.
        reader: makes the channels.
        size: height and width in pixels for the network.
        resize, interpolation: as in ``[input]``.
    """

    def __init__(
        self, dataset: Dataset, reader: SliceReader, *, size: tuple[int, int], resize: str, interpolation: str
    ) -> None:
        self.dataset = dataset
        self.reader = reader
        self.size = size
        self.resize = resize
        self.interpolation = interpolation
        self._native = dataset.table[["height", "width"]].to_numpy(dtype=np.int64)

    def geometry(self, row: int) -> Geometry:
        """How this row's native size is brought to ``size`` and back."""
        height, width = (int(value) for value in self._native[row])
        return make_geometry(self.resize, (height, width), self.size, self.interpolation)

    def image(self, row: int) -> FloatArray:
        """``[h, w, C]`` float32 at the network's size."""
        return self.reader.read(row, resize=self.resized)

    def resized(self, row: int, image: AnyArray) -> AnyArray:
        """A row's image ``[H, W, C]`` as ``[h, w, C]``, in the type that the store would have it in."""
        if self._sized(row) is not None:
            return image
        check_size(self.dataset, row, image=image)
        resized = self.geometry(row).image(image)
        return resized.astype(image.dtype) if self.interpolation == "nearest" else resized

    def mask(self, row: int) -> MaskArray:
        """``[h, w, K]`` uint8 at the network's size, with IGNORE."""
        store = self._sized(row)
        return self.geometry(row).mask(self.truth(row)) if store is None else store.mask(row, "sized")

    def planes(self, row: int) -> MaskArray:
        """As ``mask``, but ``[K, h, w]``, and contiguous: a loss adds up in the order in which its target lies."""
        store = self._sized(row)
        return np.ascontiguousarray(self.mask(row).transpose(2, 0, 1)) if store is None else store.planes(row, "sized")

    def sample(self, row: int, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """What a network trains on of a row: image ``[h, w, C]`` float32 and mask ``[h, w, K]`` uint8.

        Args:
            rng: for what is drawn; nothing of a whole slice is.
        """
        return self.image(row), self.mask(row)

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


class CropInput(Input):
    """Random crops for training; whole slices at the same scale, of any size, for everything else.

    Args:
        dataset, reader, interpolation: as of Input.
        size: height and width in pixels of a crop.
        scale: of a slice before it is cropped: 1 leaves native resolution, 0.5 halves it.
        around: share of the crops that are put around a pixel of a class, as far as a slice has one.
    """

    def __init__(
        self,
        dataset: Dataset,
        reader: SliceReader,
        *,
        size: tuple[int, int],
        interpolation: str,
        scale: float,
        around: float,
    ) -> None:
        super().__init__(dataset, reader, size=size, resize="stretch", interpolation=interpolation)
        self.scale = scale
        self.around = around

    def geometry(self, row: int) -> Geometry:
        """How this row's native size is brought to the scale and back."""
        height, width = (int(value) for value in self._native[row])
        return Stretch((height, width), scaled((height, width), self.scale), self.interpolation)

    def sample(self, row: int, rng: np.random.Generator) -> tuple[FloatArray, MaskArray]:
        """A random crop; of a 2.5D stack the same of every slice."""
        height, width = (int(value) for value in self._native[row])
        truth, window = self.truth(row), window_of(self.size, self.scale)
        mask = truth if rng.random() < self.around else None
        crop = Crop(*place((height, width), window, rng, mask=mask), window, self.size, self.interpolation)

        def cut(near: int, image: AnyArray) -> FloatArray:
            check_size(self.dataset, near, image=image)
            return crop.image(image)

        return self.reader.read(row, resize=cut), crop.mask(truth)
