"""Several processes that train one network together, connected by ``torch.distributed``."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from gisegkit.engine.forward import in_short
from gisegkit.engine.world import Outcome, PeerFailed, PeerLost, World
from gisegkit.errors import TrainingError

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a process waits for another that lives; one that ends is noticed at once, as its connections close."""

BUCKET = 1 << 24
"""Numbers that are added up in one message at most (64 MiB in float32)."""

LONGEST_SHAPE = 7


class Ranks(World):
    """All processes of a run. Every method is called by all of them, in the same order.

    Tensors are exchanged by NCCL where each process has a GPU of its own, else by gloo; messages of the processes
    themselves always by gloo, so that none of them waits for a device.

    Args:
        rank, size: the number of this process, and of all.
        local_rank, local_size: the same among the processes of this machine.
        store: where the processes find each other; default as the environment says (``torchrun`` sets it).
        nccl: whether to use NCCL; default where every process of this machine has a GPU of its own.

    Raises:
        TrainingError: if the processes do not find each other.
    """

    def __init__(
        self,
        *,
        rank: int,
        size: int,
        local_rank: int,
        local_size: int,
        store: Any = None,
        nccl: bool | None = None,
    ) -> None:
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = local_rank, local_size
        self.one_machine = local_size == size
        if nccl is None:
            nccl = dist.is_nccl_available() and torch.cuda.is_available() and local_size <= torch.cuda.device_count()
        self.backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
        try:
            self.store: Any = store or _own_store(next(iter(rendezvous("env://", rank=rank, world_size=size)))[0])
            dist.init_process_group(self.backend, store=self.store, rank=rank, world_size=size, timeout=PATIENCE)
            self.host: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"process {rank} of {size} does not find the others ({in_short(error)}); start them with torchrun, as "
                "docs/several-gpus.md says"
            ) from error

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """The processes that ``torchrun`` has started.

        Raises:
            TrainingError: if the environment does not say which of them this is.
        """
        if "RANK" not in environment:
            raise TrainingError(
                f"WORLD_SIZE = {environment['WORLD_SIZE']} is in the environment, and RANK is not, so which of the "
                "processes this is cannot be known; start them with torchrun, or unset WORLD_SIZE for one process"
            )
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        local_rank = int(environment.get("LOCAL_RANK", rank))
        return cls(
            rank=rank, size=size, local_rank=local_rank, local_size=int(environment.get("LOCAL_WORLD_SIZE", size))
        )

    def __str__(self) -> str:
        own = self.backend.rpartition(":")[2]
        return f"{self.size} processes, {self.local_size} on this machine, connected by {own}"

    def device(self, name: str) -> str:
        """Of a machine's GPUs each process takes its own; with fewer GPUs than processes they share them.

        Raises:
            TrainingError: if one of the GPUs is asked for by its number.
        """
        kind, _, number = name.partition(":")
        if number:
            raise TrainingError(
                f"--device {name}: of several processes each takes a GPU of its own; leave it away, and choose GPUs "
                "with CUDA_VISIBLE_DEVICES"
            )
        if kind in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        if kind == "mps" or (kind == "auto" and torch.backends.mps.is_available()):
            return "cpu" if kind == "auto" else name
        return name

    def agree(self, outcome: Outcome) -> Outcome:
        worst = torch.tensor(int(outcome))
        with _connected():
            dist.all_reduce(worst, op=dist.ReduceOp.MAX, group=self.host)
        return Outcome(int(worst))

    def check(self) -> None:
        if outcome := self.agree(Outcome.FINE):
            raise PeerFailed(outcome)

    @torch.no_grad()
    def fill(self, parts: Sequence[tuple[torch.Tensor, int]]) -> None:
        with _connected():
            for work in [dist.broadcast(part, source, async_op=True) for part, source in parts if part.numel()]:
                if work is not None:
                    work.wait()

    def shape(self, shape: Sequence[int] | None, source: int) -> tuple[int, ...]:
        numbers = [len(shape), *shape] if shape is not None else []
        message = torch.tensor(numbers + [0] * (LONGEST_SHAPE + 1 - len(numbers)))
        with _connected():
            dist.broadcast(message, source, group=self.host)
        return tuple(message[1 : 1 + int(message[0])].tolist())

    @torch.no_grad()
    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        weights = [weight for weight in parameters if weight.requires_grad]
        # A process without a piece has no gradients, and a weight that took part nowhere must stay without one.
        present = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.uint8)
        with _connected():
            dist.all_reduce(present, op=dist.ReduceOp.MAX, group=self.host)
        gradients = []
        for weight, there in zip(weights, present.tolist(), strict=True):
            if there:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                gradients.append(weight.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            with _connected():
                dist.all_reduce(flat)
            sums = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, summed in zip(bucket, sums, strict=True):
                gradient.copy_(summed.view(gradient.shape))

    @torch.no_grad()
    def refuse_differences(self, weights: Sequence[torch.Tensor]) -> None:
        own = torch.stack([weight.double().sum() for weight in weights]).cpu()
        with _connected():
            first = own.clone()
            dist.broadcast(first, 0, group=self.host)
        differs = not torch.equal(own, first)
        if any(self.collect([differs])):
            raise TrainingError(
                f"the weights of the {self.size} processes have become different: something in the training step "
                "depends on the process, such as an optimizer or a batch transform of a plugin that draws numbers of "
                "its own; train in one process"
            )

    def collect(self, own: list[T]) -> list[T]:
        every: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(every, own, group=self.host)
        return [item for part in every for item in part]

    def send(self, task: Any) -> None:
        buffer = io.BytesIO()
        torch.save(task, buffer)
        with _connected():
            dist.broadcast_object_list([buffer.getvalue()], 0, group=self.host, device=torch.device("cpu"))

    def receive(self) -> Any:
        message: list[Any] = [None]
        with _connected():
            dist.broadcast_object_list(message, 0, group=self.host, device=torch.device("cpu"))
        return torch.load(io.BytesIO(message[0]), map_location="cpu", weights_only=False)

    def give(self, message: bytes) -> None:
        with _connected():
            dist.send(torch.tensor(len(message)), 0, group=self.host)
            if message:  # gloo waits forever for a tensor without numbers
                dist.send(torch.frombuffer(bytearray(message), dtype=torch.uint8), 0, group=self.host)

    def take(self, source: int) -> bytes:
        size = torch.zeros((), dtype=torch.int64)
        with _connected():
            dist.recv(size, source, group=self.host)
            content = torch.empty(int(size), dtype=torch.uint8)
            if len(content):
                dist.recv(content, source, group=self.host)
        return content.numpy().tobytes()

    def first_to_say(self, text: str, *, seconds: float = 2.0) -> bool:
        """Whether this process is to print an error; one that all processes have is printed by one of them.

        Args:
            seconds: that process 0, which prints best, is given to do so.
        """
        key = f"said/{text[:500]}"
        with contextlib.suppress(RuntimeError, ValueError):  # the store may be gone with its process
            until = time.monotonic() + (seconds if self.rank else 0)
            while time.monotonic() < until and not self.store.check([key]):
                time.sleep(0.05)
            return int(self.store.add(key, 1)) == 1 or self.rank == 0
        return True

    def close(self) -> None:
        with contextlib.suppress(PeerLost, RuntimeError):
            with _connected():
                dist.barrier(group=self.host)
            dist.destroy_process_group()


def _own_store(store: Any) -> Any:
    """The part of a store that belongs to this start: after a restart it still has the addresses of dead processes."""
    return PrefixStore(f"start{os.environ.get('TORCHELASTIC_RESTART_COUNT') or 0}", store)


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """An error of the connection means that another process has ended.

    Raises:
        PeerLost: instead of it.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        text = "another process of this run has ended; its own message, or that of torchrun, says why"
        raise PeerLost(text) from error


def _buckets(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """The gradients in their order, so many at a time as one message takes, and of one type."""
    bucket: list[torch.Tensor] = []
    for gradient in gradients:
        size = sum(one.numel() for one in bucket) + gradient.numel()
        if bucket and (size > BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
