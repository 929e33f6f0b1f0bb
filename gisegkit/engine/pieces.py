"""The forward pass in pieces: one after another here, or each in the process whose piece it is, with the same result.

A piece is what batch normalization takes its statistics from and what dropout draws numbers for. Losses see the logits
of all pieces. So N processes with a piece each compute what one process does with N pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gisegkit.engine.world import ALONE, World
from gisegkit.errors import TrainingError

if TYPE_CHECKING:
    from gisegkit.engine.step import MicroBatching

Network = Callable[[torch.Tensor], torch.Tensor]


def at_once(network: Network, images: torch.Tensor) -> torch.Tensor:
    """The forward pass of images ``[B, C, H, W]`` in one piece."""
    return network(images)


def edges(count: int, pieces: int, *, least: int = 1) -> list[int]:
    """Where ``count`` images are cut into pieces as equal as can be, each of at least ``least``: ``[0, ..., count]``.

    Where there are too few images there are fewer pieces, at least one.
    """
    pieces = max(1, min(pieces, count // least))
    places: list[int] = np.linspace(0, count, pieces + 1).round().astype(int).tolist()
    return places


def owners(pieces: int, size: int) -> list[int]:
    """The process of each piece: neighbors go to one process, and with few pieces some processes have none."""
    return [number * size // pieces for number in range(pieces)]


class Pieces:
    """Runs a network's forward pass on the pieces of a micro-batch.

    Args:
        model: the network, whose running statistics follow all pieces in their order.
        batching: says how many pieces there are, and how small one may be.
        world: the processes; each computes its own pieces.
        synchronized: whether batch normalization sees all pieces, which each have a process and a GPU then.

    Raises:
        TrainingError: if the network's batch normalization cannot be synchronized.
    """

    def __init__(
        self, model: nn.Module, batching: MicroBatching, world: World = ALONE, *, synchronized: bool = False
    ) -> None:
        self.model = model
        self.batching = batching
        self.world = world
        self.synchronized = synchronized
        if synchronized and world.size > 1:
            synchronize(model)
        self.statistics = RunningStatistics(model)
        self._looked = False

    def __call__(self, network: Network, images: torch.Tensor) -> torch.Tensor:
        """``[B, C, H, W]`` to logits ``[B, K, H, W]``; those of other processes' pieces carry no gradient.

        Raises:
            TrainingError: if something but running statistics follows the data, which several processes cannot merge.
            PeerFailed: if the forward pass failed in another process.
        """
        if self.batching.pieces == 1 and self.world.size == 1:
            return network(images)
        cuts = edges(len(images), self.batching.pieces, least=self.batching.least)
        if self.synchronized:
            refuse_unsynchronized(len(images), len(cuts) - 1, self.world.size, images.device)
        # Drawn by all processes alike, as each has the generator of this step. A batch that is not cut draws from it.
        whole = self.batching.pieces == 1
        seeds = [None] if whole else torch.randint(2**62, (len(cuts) - 1,)).tolist()
        pieces = [images[start:stop] for start, stop in pairwise(cuts)]
        if self.world.size == 1:
            return torch.cat([_drawing(network, piece, seed) for piece, seed in zip(pieces, seeds, strict=True)])
        return self._shared(network, pieces, seeds)

    def _shared(self, network: Network, pieces: Sequence[torch.Tensor], seeds: Sequence[int | None]) -> torch.Tensor:
        """The logits of all pieces, and the running statistics after all of them."""
        owner = owners(len(pieces), self.world.size)
        mine = [number for number, rank in enumerate(owner) if rank == self.world.rank]
        others = None if self._looked else self.statistics.others()
        start = self.statistics.take()
        logits: list[Any] = [None] * len(pieces)
        found: list[Any] = [None] * len(pieces)
        for number in mine:
            self.statistics.clear()
            logits[number] = _drawing(network, pieces[number], seeds[number]).float()
            found[number] = self.statistics.take()
        if others is not None and mine:
            self.statistics.refuse_changes(others)
        self._looked = True
        self.world.check()  # from here on nothing may fail in one process alone until all have all pieces
        shape = self.world.shape(logits[0].shape[1:] if mine[:1] == [0] else None, owner[0])
        for number in set(range(len(pieces))) - set(mine):
            logits[number] = torch.empty((len(pieces[number]), *shape), device=pieces[number].device)
            found[number] = torch.empty_like(start)
        sent = [piece.detach().contiguous() if at in mine else piece for at, piece in enumerate(logits)]
        self.world.fill([*zip(sent, owner, strict=True), *zip(found, owner, strict=True)])
        self.statistics.put(start, found)
        whole = torch.cat(logits)
        return whole if mine else whole.requires_grad_()  # else a process without a piece could not go backward


def synchronize(model: nn.Module) -> None:
    """Make the batch normalization of a network, where it trains, see the pieces of all processes.

    Raises:
        TrainingError: if a layer is of a kind of its own, which the conversion would make another one.
    """
    from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm  # torch's conversion loses its activation

    for parent in list(model.modules()):
        for name, child in parent.named_children():
            frozen = "train" in child.__dict__  # as ``freeze`` leaves it
            if frozen or not isinstance(child, _BatchNorm) or isinstance(child, nn.SyncBatchNorm):
                continue
            if type(child) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d):
                raise TrainingError(
                    f"train.sync_batch_norm = true: the network has a {type(child).__name__}, which cannot be "
                    "synchronized; set it to false"
                )
            parent.add_module(name, convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]


def refuse_unsynchronized(images: int, pieces: int, size: int, device: torch.device) -> None:
    """Check that each process has one piece: a process without one would leave the others waiting.

    Args:
        images: that are cut into ``pieces``.
        size: how many processes there are.

    Raises:
        TrainingError: if it has not, or if the pieces are not on GPUs, which alone can synchronize.
    """
    if pieces != size or device.type != "cuda":
        raise TrainingError(
            f"train.sync_batch_norm = true: {size} processes have {pieces} pieces of {images} slices on {device.type}, "
            "and synchronized batch normalization takes a GPU and one piece for each process; choose train.pieces, "
            "train.batch_size and train.micro_batch so that every batch, the last one too, has so many. In one process "
            "train.pieces=1 normalizes over the whole micro-batch"
        )


def _drawing(network: Network, piece: torch.Tensor, seed: int | None) -> torch.Tensor:
    """The forward pass of one piece, whose draws derive from its seed; afterwards torch draws as if nothing was.

    Autocast keeps the weights that it has cast, so the gradients of two pieces would be added up in half precision,
    which processes with a piece each never do. So each piece has casts of its own.
    """
    torch.clear_autocast_cache()
    if seed is None:
        return network(piece)
    devices = [piece.device] if piece.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        return network(piece)


class RunningStatistics:
    """The running statistics of a network's batch normalization as one vector: means, variances, and counters.

    A layer moves its statistics r by a piece's own ones s, to (1 - m) r + m s. Taken from layers that start at 0, a
    vector holds m s alone, so that the pieces of several processes can be put together in their order.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self._all = [norm for norm in norms if norm.running_mean is not None]
        # Synchronized layers have the statistics of all pieces already.
        self._norms = [norm for norm in self._all if not isinstance(norm, nn.SyncBatchNorm)]

    @property
    def norms(self) -> list[Any]:
        """The layers that train."""
        return [norm for norm in self._norms if norm.training]

    @torch.no_grad()
    def take(self) -> torch.Tensor:
        """A copy of the statistics; of no layer, an empty vector."""
        values = [part.flatten().float() for norm in self.norms for part in _buffers(norm)]
        return torch.cat(values) if values else torch.empty(0, device=_device(self.model))

    @torch.no_grad()
    def clear(self) -> None:
        """Let all layers start at 0."""
        for norm in self.norms:
            for part in _buffers(norm):
                part.data.zero_()  # .data: the backward pass of a training layer keeps, but does not read, them

    @torch.no_grad()
    def put(self, start: torch.Tensor, pieces: Sequence[torch.Tensor]) -> None:
        """The statistics that one process has after all pieces.

        Args:
            start: before the first piece.
            pieces: what each piece's layers held after they had started at 0, in the pieces' order.
        """
        norms = self.norms
        sizes = [part.numel() for norm in norms for part in _buffers(norm)]
        vectors = [torch.split(vector, sizes) for vector in (start, *pieces)] if sizes else []
        for number, norm in enumerate(norms):
            at = 3 * number
            mean, variance, counter = vectors[0][at : at + 3]
            for vector in vectors[1:]:
                calls = vector[at + 2]
                counter = counter + calls
                # Without a momentum a layer keeps the mean of all that it saw.
                share = calls / counter.clamp(min=1) if norm.momentum is None else torch.ones_like(calls)
                kept = 1 - share if norm.momentum is None else (1 - norm.momentum) ** calls
                mean, variance = kept * mean + share * vector[at], kept * variance + share * vector[at + 1]
            for buffer, value in zip(_buffers(norm), (mean, variance, counter), strict=True):
                buffer.data.copy_(value.view(buffer.shape))

    def others(self) -> dict[str, torch.Tensor]:
        """Copies of the buffers that are no running statistics."""
        known = {id(part) for norm in self._all for part in _buffers(norm)}
        return {name: value.clone() for name, value in self.model.named_buffers() if id(value) not in known}

    def refuse_changes(self, before: dict[str, torch.Tensor]) -> None:
        """Check that the other buffers are as they were.

        Raises:
            TrainingError: if one has changed.
        """
        for name, value in self.model.named_buffers():
            if name in before and not torch.equal(value, before[name]):
                raise TrainingError(
                    f"the network's buffer {name} changes while it trains, and is no running statistic of batch "
                    "normalization, so several processes cannot put their changes together; train in one process"
                )


def _buffers(norm: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return norm.running_mean, norm.running_var, norm.num_batches_tracked


def _device(model: nn.Module) -> torch.device:
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))
