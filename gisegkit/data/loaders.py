"""Loaders: rows of a dataset's table to tensors, in this process or in workers, the same to the last bit.

The training loader yields whole effective batches; the evaluation loader yields slices in the order of their scans.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from gisegkit.data.buffers import BufferPool, Form, Handle, Unused
from gisegkit.data.inputs import Input
from gisegkit.data.preprocess import CropPreprocess
from gisegkit.data.randomness import ORDER, SAMPLE, generator
from gisegkit.data.reading import id_of, raise_defect
from gisegkit.data.workers import PREFETCH, BatchLoader
from gisegkit.errors import ComponentError, GisegError
from gisegkit.types import AnyArray, FloatArray, MaskArray

Key = tuple[int, ...]
"""(epoch, row), and of crops after a slice's first (epoch, row, number): all that a sample depends on in a recipe."""


class Augmentation(Protocol):
    """What an ``[augmentation]`` component returns.

    One with an attribute ``changes_nothing`` that is true is not called at all.
    """

    def __call__(
        self, image: FloatArray, mask: MaskArray, rng: np.random.Generator
    ) -> tuple[FloatArray, MaskArray]: ...


class TrainingSet(TorchDataset[tuple[AnyArray, AnyArray, int]]):
    """Samples by (epoch, row), augmented (if at all) with the generator of exactly that key."""

    def __init__(self, source: Input, augmentation: Augmentation | None, *, seed: int) -> None:
        self.source = source
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, key: Key) -> tuple[AnyArray, AnyArray, int]:
        row, unchanged = key[1], self.augmentation is None or getattr(self.augmentation, "changes_nothing", False)
        if unchanged and not isinstance(self.source.preprocess, CropPreprocess):
            return self.source.image(row).transpose(2, 0, 1), self.source.planes(row), row
        rng = generator(self.seed, SAMPLE, *key)
        image, mask = self.source.sample(row, rng)
        try:
            if self.augmentation is not None and not unchanged:
                image, mask = self.augmentation(image, mask, rng)
        except (GisegError, MemoryError):
            raise
        except Exception as error:
            raise_defect(self.augmentation, "its call", id_of(self.source.dataset, row), error)
        return image.transpose(2, 0, 1), mask.transpose(2, 0, 1), row


class EpochSampler(Sampler[list[Key]]):
    """The batches of one epoch as keys: a permutation of the rows that derives from (seed, epoch).

    A last batch of a single slice is left out if there are others: batch normalization cannot train on one. The
    order changes every epoch, so no slice is left out for good. A pass is of ``epoch``, of ``at_most`` batches if set.

    Args:
        crops: samples of each row in an epoch.
    """

    def __init__(self, rows: Sequence[int] | AnyArray, *, batch_size: int, seed: int, crops: int = 1) -> None:
        self.rows = np.asarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.crops = crops
        self.seed, self.epoch = seed, 1
        self.at_most: int | None = None

    def __len__(self) -> int:
        full, rest = divmod(len(self.rows) * self.crops, self.batch_size)
        batches = full + (rest > 1 or (rest == 1 and full == 0))
        return batches if self.at_most is None else min(batches, self.at_most)

    def __iter__(self) -> Iterator[list[Key]]:
        keys: list[Key] = [(self.epoch, int(row)) for row in self.rows]
        keys += [(self.epoch, int(row), number) for number in range(1, self.crops) for row in self.rows]
        order = generator(self.seed, ORDER, self.epoch).permutation(len(keys)).tolist()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield [keys[place] for place in order[start : start + self.batch_size]]


@dataclass(frozen=True)
class Loaded:
    """A batch as the loader hands it over, on the CPU: images ``[B, C, H, W]``, masks uint8 ``[B, K, H, W]``."""

    images: torch.Tensor
    masks: torch.Tensor
    rows: torch.Tensor

    def pin_memory(self) -> Loaded:
        """The same in page-locked memory, from which copies to a GPU do not block."""
        return Loaded(self.images.pin_memory(), self.masks.pin_memory(), self.rows)


@dataclass(frozen=True)
class LoadedSlices:
    """Slices for evaluation: images ``[B, C, h, w]`` and the native masks, uint8 ``[H, W, K]``, None if unlabelled."""

    images: torch.Tensor
    masks: list[MaskArray | None]
    rows: list[int]

    def pin_memory(self) -> LoadedSlices:
        """The same with page-locked images."""
        return LoadedSlices(self.images.pin_memory(), self.masks, self.rows)


class EvaluationSet(TorchDataset[tuple[AnyArray, MaskArray | None, int]]):
    """Slices by position in ``rows``, neither augmented nor with their masks resized.

    A scan that was left for another is not held in memory, so that a large set takes no more than a small one.
    """

    def __init__(self, source: Input, rows: Sequence[int] | AnyArray) -> None:
        self.source = source
        self.rows = [int(row) for row in rows]
        self.labelled = source.dataset.table["labelled"].to_numpy(dtype=bool)
        self._scans = source.dataset.table["scan"].to_numpy()
        self._last = self.rows[0] if self.rows else 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[AnyArray, MaskArray | None, int]:
        row = self.rows[position]
        store = self.source.reader.store
        if store is not None and self._scans[row] != self._scans[self._last]:
            store.release(self._last)
        self._last = row
        mask = self.source.truth(row) if self.labelled[row] else None
        return self.source.image(row).transpose(2, 0, 1), mask, row


Sample = tuple[AnyArray, AnyArray, int]  # image [C, H, W], mask [K, H, W], row


class BatchRequest(NamedTuple):
    """A batch that is wanted: its samples, and its slot in shared memory; None for memory of its own."""

    keys: list[Key]
    slot: int | None


class _Requests(Sampler[BatchRequest]):
    """Lends a slot with every batch."""

    def __init__(self, sampler: EpochSampler | Sequence[list[Key]], pool: BufferPool | None) -> None:
        self.sampler = sampler
        self.pool = pool

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[BatchRequest]:
        for keys in self.sampler:
            yield BatchRequest(keys, None if self.pool is None else self.pool.acquire())


class _Batches(TorchDataset[Loaded | Handle[Loaded] | Unused[Loaded]]):
    """Whole batches; every sample is written where it stays."""

    def __init__(self, samples: TrainingSet, pool: BufferPool | None) -> None:
        self.samples = samples
        self.pool = pool

    def __getitem__(self, request: BatchRequest) -> Loaded | Handle[Loaded] | Unused[Loaded]:
        keys, slot = request
        first = self.samples[keys[0]]
        if self.pool is None or slot is None or not self.pool.fit(_forms(first), len(keys)):
            arrays = [np.empty((len(keys), *shape), dtype) for shape, dtype in _forms(first)]
            rows = self._fill(arrays, keys, first)
            images, masks = map(torch.from_numpy, arrays)
            loaded = _loaded(images, masks, rows)
            return loaded if self.pool is None or slot is None else self.pool.unused(slot, loaded)
        rows = self._fill(self.pool.arrays(slot, len(keys)), keys, first)
        return self.pool.handle(slot, len(keys), _loaded, rows)

    def _fill(self, arrays: list[AnyArray], keys: list[Key], first: Sample) -> list[int]:
        """Write the samples of the keys, of which the first is made already; return their rows."""
        rows = []
        for number, key in enumerate(keys):
            sample = self.samples[key] if number else first
            if _forms(sample) != _forms(first):
                raise ComponentError(f"augmentation: samples differ in form: {_forms(first)} and {_forms(sample)}")
            arrays[0][number], arrays[1][number] = sample[:2]
            rows.append(sample[2])
        return rows


def _forms(sample: Sample) -> list[Form]:
    return [(array.shape, array.dtype) for array in sample[:2]]


def _loaded(images: torch.Tensor, masks: torch.Tensor, rows: Sequence[int]) -> Loaded:
    return Loaded(images, masks, torch.tensor(rows))


class _SliceBatches(TorchDataset[LoadedSlices]):
    """Batches of an EvaluationSet by their positions in it."""

    def __init__(self, slices: EvaluationSet) -> None:
        self.slices = slices

    def __getitem__(self, positions: range) -> LoadedSlices:
        images, masks, rows = zip(*(self.slices[position] for position in positions), strict=True)
        return LoadedSlices(torch.from_numpy(np.stack(images)), list(masks), list(rows))


def training_loader(
    samples: TrainingSet, sampler: EpochSampler | Sequence[list[Key]], *, workers: int, pin: bool, stay: bool = True
) -> BatchLoader:
    """Yields one Loaded an optimizer step; set ``sampler.epoch`` before each pass, or give the batches' keys.

    Workers stay for the next pass unless told otherwise.

    Raises:
        RunError: if batches from worker processes do not fit into shared memory.
    """
    pool = None
    if workers and len(sampler):
        keys = next(iter(sampler))
        # As many as the workers prepare, one that is used, one that has just arrived, and one to spare.
        pool = BufferPool(workers * PREFETCH + 3, len(keys), _forms(samples[keys[0]]))
    batches, requests = _Batches(samples, pool), _Requests(sampler, pool)
    return BatchLoader(batches, requests, workers=workers, pin=pin, persistent=stay)


def evaluation_loader(
    slices: EvaluationSet, *, batch_size: int, workers: int, pin: bool, wanted: AnyArray | None = None
) -> BatchLoader:
    """Yields LoadedSlices in the order of the rows.

    Args:
        wanted: positions ``[N]`` of the slices that are wanted, default all; batches without any of them are left out,
            and the others are as they would be.
    """
    positions = range(len(slices))
    numbers = range(-(-len(slices) // batch_size)) if wanted is None else np.unique(wanted // batch_size).tolist()
    requests = [positions[number * batch_size : (number + 1) * batch_size] for number in numbers]
    return BatchLoader(_SliceBatches(slices), requests, workers=workers, pin=pin)
