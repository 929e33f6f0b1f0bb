"""Shared memory for the batches of worker processes, used again and again.

New memory has to be found page by page, by the worker that fills it and by the process that reads it, which takes
longer than filling it. So the reading process allocates a pool of buffers for whole batches once, lends one with each
batch that it requests, and has it back as soon as nothing refers to that batch's tensors any more.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from gisegkit.errors import RunError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

T = TypeVar("T")

Form = tuple[tuple[int, ...], "np.dtype[Any]"]
"""Shape and type of an array."""

ALIGN = 64
"""Bytes to which the start of every tensor is rounded up."""

_numbers = itertools.count()
_pools: weakref.WeakValueDictionary[int, BufferPool] = weakref.WeakValueDictionary()


class BufferPool:
    """Buffers for batches, each of a few tensors, in memory that this process shares with its workers.

    A slot is the number of a buffer.

    Args:
        count: of buffers.
        samples: that a batch has at most.
        forms: what each sample consists of.

    Raises:
        RunError: if the system has not that much shared memory.
    """

    def __init__(self, count: int, samples: int, forms: Sequence[Form]) -> None:
        self.samples = samples
        self.forms = list(forms)
        self._number = next(_numbers)
        self._free = deque(range(count))
        sizes = [samples * math.prod(shape) * dtype.itemsize for shape, dtype in forms]
        self._ends = list(itertools.accumulate(-(-size // ALIGN) * ALIGN for size in sizes))
        try:
            self._memory = [_shared(self._ends[-1]) for _ in range(count)]
        except RuntimeError as error:
            raise RunError(
                f"{count} batches of {self._ends[-1] / 2**20:.0f} MiB do not fit into the system's shared memory "
                f"({error}); give it more (docker run --shm-size), make train.batch_size smaller, or load without "
                "worker processes: --set train.workers=0"
            ) from error
        _pools[self._number] = self

    def fit(self, forms: Sequence[Form], samples: int) -> bool:
        """Whether a batch of so many samples of these forms finds room."""
        return samples <= self.samples and list(forms) == self.forms

    def acquire(self) -> int | None:
        """A slot that is free; None if there is none."""
        try:
            return self._free.popleft()
        except IndexError:
            return None

    def arrays(self, slot: int, samples: int) -> list[AnyArray]:
        """What the worker fills for a batch of so many samples."""
        return [tensor.numpy() for tensor in self._split(self._memory[slot], samples)]

    def receive(self, slot: int, samples: int) -> list[torch.Tensor]:
        """The batch in the process that owns the pool; when the last tensor is gone, the slot is free again."""
        memory = self._memory[slot].numpy()
        weakref.finalize(memory, self._free.append, slot).atexit = False
        return self._split(torch.from_numpy(memory), samples)

    def handle(self, slot: int, samples: int, make: Callable[..., T], *rest: object) -> Handle[T]:
        """What the worker sends in a batch's stead."""
        return Handle(self._number, slot, samples, make, rest)

    def unused(self, slot: int, batch: T) -> Unused[T]:
        """What the worker sends where a batch does not fit into its slot, which is free again then."""
        return Unused(self._number, slot, batch)

    def release(self, slot: int) -> None:
        """Have a slot back."""
        self._free.append(slot)

    def _split(self, memory: torch.Tensor, samples: int) -> list[torch.Tensor]:
        tensors = []
        for start, (shape, dtype) in zip([0, *self._ends], self.forms, strict=False):
            stop = start + samples * math.prod(shape) * dtype.itemsize
            kind = torch.from_numpy(np.empty(0, dtype)).dtype
            tensors.append(memory[start:stop].view(kind).view(samples, *shape))
        return tensors


def _shared(size: int) -> torch.Tensor:
    memory: torch.Tensor = torch.empty(size, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
    return memory


@dataclass(frozen=True)
class Handle(Generic[T]):
    """Names a filled slot; unpickled in the process that owns the pool, it becomes ``make(*tensors, *rest)``."""

    number: int
    slot: int
    samples: int
    make: Callable[..., T]
    rest: tuple[object, ...]

    def __reduce__(self) -> tuple[Callable[..., T], tuple[Any, ...]]:
        return _resolve, (self.number, self.slot, self.samples, self.make, self.rest)


def _resolve(number: int, slot: int, samples: int, make: Callable[..., T], rest: tuple[object, ...]) -> T:
    return make(*_pools[number].receive(slot, samples), *rest)


@dataclass(frozen=True)
class Unused(Generic[T]):
    """A batch that did not fit into its slot; unpickled in the process that owns the pool, it becomes the batch."""

    number: int
    slot: int
    batch: T

    def __reduce__(self) -> tuple[Callable[..., T], tuple[Any, ...]]:
        return _release, (self.number, self.slot, self.batch)


def _release(number: int, slot: int, batch: T) -> T:
    _pools[number].release(slot)
    return batch
