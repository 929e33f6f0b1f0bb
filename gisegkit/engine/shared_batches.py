"""Batches that several processes read together: each reads a share of the slices, and every one gets them all.

Batch transforms then see the whole batch in every process, and draw the same there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from gisegkit.data.loaders import EpochSampler, Key, Loaded, TrainingSet, training_loader
from gisegkit.engine.device import Device
from gisegkit.engine.world import World


class _Share:
    """This process's share of each batch; where that is nothing, one slice, so that its form is known."""

    def __init__(self, sampler: EpochSampler, world: World) -> None:
        self.sampler = sampler
        self.world = world

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[Key]]:
        for keys in self.sampler:
            start, stop = share(len(keys), self.world.rank, self.world.size)
            yield keys[start:stop] or keys[:1]


class SharedBatches:
    """Yields what ``training_loader`` does for the same sampler, on the device, in every process.

    Args:
        samples, sampler, workers: as of ``training_loader``; the workers are those of this process.
    """

    def __init__(
        self, samples: TrainingSet, sampler: EpochSampler, *, workers: int, device: Device, world: World
    ) -> None:
        self.sampler, self.device, self.world = sampler, device, world
        own: Any = _Share(sampler, world)
        self.loader = training_loader(samples, own, workers=workers, pin=device.pin)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Loaded]:
        for loaded, keys in zip(self.loader, self.sampler, strict=True):
            yield self._whole(loaded, keys)

    def _whole(self, loaded: Loaded, keys: list[Key]) -> Loaded:
        parts = [share(len(keys), rank, self.world.size) for rank in range(self.world.size)]
        start, stop = parts[self.world.rank]
        wholes = []
        for own in self.device.take(loaded.images, loaded.masks):
            whole = torch.empty((len(keys), *own.shape[1:]), dtype=own.dtype, device=own.device)
            whole[start:stop] = own[: stop - start]
            wholes.append(whole)
        self.world.fill([(whole[a:b], rank) for whole in wholes for rank, (a, b) in enumerate(parts)])
        return Loaded(wholes[0], wholes[1], torch.tensor([key[1] for key in keys]))


def share(count: int, rank: int, size: int) -> tuple[int, int]:
    """From which to before which of ``count`` things that fall to a process."""
    return rank * count // size, (rank + 1) * count // size
