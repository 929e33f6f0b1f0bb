"""The pieces of a training step: batches on the device, micro-batches, and another try if memory runs out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import nn

from gisegkit.data.loaders import Loaded
from gisegkit.engine.checkpointing import enable, is_enabled
from gisegkit.engine.device import Device
from gisegkit.engine.forward import Forward, in_short
from gisegkit.engine.pieces import edges
from gisegkit.engine.plan import HEALTHY, even
from gisegkit.engine.world import ALONE, Outcome, PeerFailed, PeerLost, World
from gisegkit.errors import TrainingError
from gisegkit.types import IGNORE, Batch


class BatchTransform(Protocol):
    """What a ``[[batch_transform]]`` component returns."""

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch: ...


@dataclass
class MicroBatching:
    """How a batch is cut into micro-batches; changed only when memory runs out.

    Attributes:
        size: slices of a micro-batch.
        least: the fewest that a micro-batch or a piece of it may have, because of batch normalization.
        blocks: blocks of the network whose activations may be recomputed, where that is allowed.
        notes: what was changed and when, a line each; taken out by the epoch's report.
        pieces: that the network gets a micro-batch in; of several processes each computes some of them.
    """

    size: int
    least: int = 1
    blocks: Sequence[nn.Module] = ()
    notes: list[str] = field(default_factory=list)
    pieces: int = 1

    @property
    def recomputing(self) -> bool:
        """Whether activations are recomputed."""
        return any(is_enabled(block) for block in self.blocks)

    def reduce_memory(self, batch_size: int, where: str) -> None:
        """Take less memory from now on.

        Raises:
            TrainingError: if nothing is left to do.
        """
        size = min(self.size, batch_size)
        half = even(batch_size, -(-size // 2))
        spare = bool(self.blocks) and not self.recomputing
        if size > self.least and half >= self.least and (half >= HEALTHY or not spare):
            self.size = half
            what = f"in micro-batches of {half} instead of {size}"
        elif spare:
            enable(self.blocks)
            what = f"recomputing activations, in micro-batches of {size}"
        else:
            raise TrainingError(
                f"memory ran out at {where} with a micro-batch of {size}, the smallest possible"
                f"{', and activations recomputed' if self.recomputing else ''}. Make the images smaller "
                "(--set input.size=...; half the side takes a quarter of the activations), take a smaller encoder, or "
                "free memory; giseg check --memory RECIPE says how much each takes. last.pt holds the last epoch"
            )
        self.notes.append(f"memory ran out at {where}: the step is repeated {what}, and so are all that follow")


class Attempt:
    """One try at a step; swallows an error that another try can mend, and remembers which it was.

    Several processes agree on how it ended, so that all of them repeat the step, or none does.

    Attributes:
        outcome: how it ended.
        cause: the error in one line.
    """

    def __init__(self, forward: Forward, world: World) -> None:
        self.forward = forward
        self.world = world
        self.outcome = Outcome.FINE
        self.cause = ""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, PeerLost) or (error is not None and not isinstance(error, Exception)):
            return False
        if error is not None and self.forward.fails_alone:
            return False
        self.outcome = error.outcome if isinstance(error, PeerFailed) else self.world.agree(self._own(error))
        if self.outcome is Outcome.FATAL:
            self._raise(error)
            return False
        self.cause = "an error in another process" if error is None else in_short(error)
        return True

    def _own(self, error: Exception | None) -> Outcome:
        """How the try ended in this process."""
        if error is None:
            return Outcome.FINE
        if is_out_of_memory(error):
            return Outcome.OUT_OF_MEMORY
        return Outcome.COMPILER if self.forward.failed else Outcome.FATAL

    def _raise(self, error: Exception | None) -> None:
        """Errors that no other try can mend, where they can be told better than they are."""
        if error is None or isinstance(error, PeerFailed):
            raise PeerLost("another process of this run has failed, and its own message says why") from error
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            raise TrainingError(
                "batch normalization cannot train on a single value per channel: this network shrinks a slice to one "
                "pixel, and a micro-batch, or a piece of it, held one slice. Raise train.micro_batch, train.batch_size "
                "or input.size, or train in fewer pieces (train.pieces, or fewer processes)"
            ) from error


def attempts(
    forward: Forward,
    micro_batching: MicroBatching,
    device: Device,
    *,
    images: int,
    epoch: int,
    step: int,
    world: World = ALONE,
) -> Iterator[Attempt]:
    """Tries at one step, until one succeeds: while memory runs out, each takes less of it.

    A repetition has the same data and the same random draws, and starts from the buffers (running statistics) that
    the first attempt started from. If a compiled network fails in its own forward or backward pass, the step is
    repeated without compilation; an error of a batch transform or a loss is raised.

    Args:
        images: in the batch.
        epoch, step: for the notes; the epoch counts from 1, the step from 0.
        world: the processes that make the step together.

    Raises:
        TrainingError: if memory runs out and nothing is left to do.
    """
    forward.snapshot_buffers()
    while True:
        attempt = Attempt(forward, world)
        yield attempt
        # After the with statement: inside it, the error's traceback keeps the tensors of the failed attempt alive.
        if attempt.outcome is Outcome.FINE:
            return
        if attempt.outcome is Outcome.OUT_OF_MEMORY:
            micro_batching.reduce_memory(images, f"epoch {epoch}, step {step + 1}")
        else:
            micro_batching.notes.append(forward.give_up(attempt.cause))
        forward.reset_for_retry()
        device.release()


OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "unable to find an engine",
)
"""What the allocators of CUDA, MPS, the CPU and CUDA's libraries say.

The last is all that torch says of a convolution for which cuDNN got no workspace: it tries every algorithm, and takes
each that runs out of memory for one that cannot do it.
"""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of whichever device."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)
    )


def prepare_batch(
    loaded: Loaded,
    transforms: Sequence[BatchTransform],
    device: Device,
    rng: np.random.Generator,
    *,
    channels_last: bool,
) -> Batch:
    """A loaded batch as the network gets it: on the device, the batch transforms applied in their order."""
    batch = to_device(loaded, device, channels_last=channels_last)
    for transform in transforms:
        batch = transform(batch, rng)
    return batch


def to_device(loaded: Loaded, device: Device, *, channels_last: bool) -> Batch:
    """A loaded batch as the training step wants it: float targets with NaN at ignored pixels."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    images, masks = device.take(loaded.images, loaded.masks)
    images = images.to(memory_format=memory_format)  # on the device, where it is fast
    target = masks.float().masked_fill_(masks == IGNORE, math.nan)
    return Batch(images, ((1.0, target),), loaded.rows)


def split(batch: Batch, size: int, *, least: int = 1) -> Iterator[tuple[float, Batch]]:
    """Micro-batches of at most ``size`` images, as equal as can be, each with its share of the batch.

    Where a piece would have fewer than ``least`` images there is one piece less, and the others are larger.
    """
    count = len(batch.images)
    pieces = max(1, min(-(-count // size), count // least))
    for start, stop in pairwise(edges(count, pieces)):
        targets = tuple((weight, target[start:stop]) for weight, target in batch.targets)
        yield (stop - start) / count, Batch(batch.images[start:stop], targets, batch.rows[start:stop])
