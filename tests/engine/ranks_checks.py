"""Training in 2, 3 and 4 processes against one process; started by test_ranks.py as a program of its own.

It imports torch once and forks: an import takes longer than all that is checked here. Each check returns something
that is to be equal in all processes, and to what ``reference`` says.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo  # an optimizer imports it at its first step, in each process anew
import torch.distributed as dist
from torch import nn

from gisegkit.components.batch_transforms.mixup import Mixup
from gisegkit.components.losses.ratios import BCE, DiceLoss
from gisegkit.data.loaders import EpochSampler, TrainingSet
from gisegkit.engine import fit as fitting
from gisegkit.engine.averaging import Ema, Swa
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import fit
from gisegkit.engine.ranks import Ranks
from gisegkit.engine.step import MicroBatching
from gisegkit.engine.training import HeldOut, Training
from gisegkit.engine.world import ALONE, PeerLost
from gisegkit.errors import DataError, TrainingError

SIZES = (4, 2, 3)
PIECES = 4
DEVICE = "cpu"
STEPS: list[torch.Tensor] = []
"""The terms of every step, in this process."""


class Noted(fitting.Ledger):
    def add(self, terms, **facts):
        STEPS.append(terms.clone())
        super().add(terms, **facts)


fitting.Ledger = Noted


class Points(TrainingSet):
    """Samples of 16 x 16 pixels; the mask is where the image is bright. One of them may be broken."""

    def __init__(self, broken=-1):
        self.broken = broken

    def __getitem__(self, key):
        if key[1] == self.broken:
            raise DataError(f"slice {key[1]} cannot be read")
        image = np.random.default_rng(list(key)).random((1, 16, 16), dtype=np.float32)
        return image, (image > 0.5).astype(np.uint8), key[1]


class Counting(nn.Module):
    """A buffer that is no running statistic, and changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images):
        if self.training:
            self.seen += images.mean().detach()
        return images


class Full(nn.Module):
    """Runs out of memory once in training, where it is told to."""

    def __init__(self, here):
        super().__init__()
        self.calls, self.here = 0, here

    def forward(self, images):
        self.calls += self.training
        if self.here and self.calls == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate a lot")
        return images


def training(world, *, inside=(), average=None, samples=None, dropout=0.3, precision="fp32", **changes):
    torch.manual_seed(0)
    middle = [nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(dropout), nn.BatchNorm2d(4, momentum=None), *inside]
    # Without a bias, whose gradient before a normalization is rounding alone, and which Adam would make something of.
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), *middle, nn.Conv2d(4, 1, 3, padding=1))
    model = model.to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    settings = {
        "criterion": Criterion([("bce", 0.5, BCE()), ("dice", 0.5, DiceLoss(ratio_over="batch"))]),
        "schedule": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
        "samples": samples or Points(),
        # 7 and 3 images: no number of processes divides them, and the last batch has fewer than 4
        "sampler": EpochSampler(np.arange(17), batch_size=7, seed=0),
        "held_out": HeldOut(Points(), [[(0, row) for row in rows] for rows in ((20, 21, 22), (23, 24), (25,))]),
        "transforms": [Mixup(alpha=0.4)],
        "micro_batching": MicroBatching(7, pieces=PIECES),
        "epochs": 2,
        "max_grad_norm": 1.0,
        "statistics_batches": 2,
    }
    return Training(
        **settings | changes,
        model=model,
        average=average(model) if average else Ema(model, decay=0.9),
        optimizer=optimizer,
        validate=lambda: {"dice": 0.5},
        device=pick_device(DEVICE, precision),
        seed=0,
        channels_last=False,
        workers=0,
        monitor="dice",
        higher_is_better=True,
        patience=0,
        validate_every=1,
        world=world,
    )


def trained(one, state=None):
    """Everything that a training gives: the losses of the steps, of validation, and the deployed running statistics."""
    STEPS.clear()
    reports = list(fit(one, state=state))
    buffers = [value.float() for name, value in reports[-1].weights.items() if "running" in name or "tracked" in name]
    return {
        "steps": torch.stack(STEPS).cpu(),
        "validation": torch.tensor([report.validation_loss for report in reports]),
        "buffers": torch.cat([value.flatten() for value in buffers]).cpu(),
        "notes": [note for report in reports for note in report.notes],
    }


def plain(world, folder):
    return trained(training(world))


def micro_batches(world, folder):
    """Losses see a micro-batch, batch normalization a piece of it."""
    return trained(training(world, micro_batching=MicroBatching(4, pieces=PIECES)))


def fewest(world, folder):
    """Pieces of two images at least: there are fewer of them than processes."""
    return trained(training(world, micro_batching=MicroBatching(7, least=2, pieces=PIECES)))


def uncut(world, folder):
    """A run of one process that several resume: one of them trains, as the one did."""
    return trained(training(world, micro_batching=MicroBatching(7, pieces=1), epochs=1))


def half(world, folder):
    """Two pieces in half precision; each weight has two gradients, whose sum does not depend on their order."""
    result = trained(training(world, micro_batching=MicroBatching(7, pieces=2), precision="bf16"))
    return result | {"validation": torch.zeros(0)}  # by running statistics, which are put together in another order


def swa(world, folder):
    return trained(training(world, average=lambda model: Swa(model, first=1)))


def out_of_memory(world, folder):
    """It runs out in the last process alone; all repeat the step in halves."""
    own = world.rank == world.size - 1
    result = trained(training(world, inside=[Full(own)], epochs=1))
    assert "in micro-batches of 4 instead of 7" in result["notes"][0], result["notes"]
    return result


def resumed(world, folder):
    """After an epoch on 4 processes, by the number of processes that there are."""
    state = Path(folder) / "state.pt"
    if world.size == 4:
        first = next(fit(training(world)))
        if world.rank == 0:
            torch.save(first.state, state)
        world.collect([])
    return trained(training(world), torch.load(state, weights_only=False))


def whole_batch(world, folder):
    """Synchronized batch normalization: as in one process with one piece; without dropout, which draws by piece."""
    rows = EpochSampler(np.arange(14), batch_size=7, seed=0)
    batching = MicroBatching(7, pieces=world.size)
    return trained(training(world, dropout=0.0, sampler=rows, micro_batching=batching, sync_batch_norm=True))


CHECKS = (plain, micro_batches, fewest, uncut, swa, resumed)
OF_TWO = (plain, resumed, half)


def refusals(world):
    """What ends a training: every process ends, and those with the cause tell it."""
    with pytest.raises(TrainingError, match=r"buffer 5\.seen changes|another process of this run has failed"):
        trained(training(world, inside=[Counting()]))
    one = training(world)
    if world.rank == 1:  # an optimizer that does something else in one process
        one.optimizer.param_groups[0]["lr"] = 0.1
    with pytest.raises(TrainingError, match="have become different"):
        trained(one)


def connections(world):
    assert world.collect([world.rank, -world.rank]) == [
        number for rank in range(world.size) for number in (rank, -rank)
    ]
    tensors = [torch.full((2,), float(world.rank)) for _ in range(world.size)]
    world.fill(list(zip(tensors, range(world.size), strict=True)))
    assert [tensor.tolist() for tensor in tensors] == [[rank, rank] for rank in range(world.size)]
    assert world.shape((3, 5) if world.rank == 1 else None, 1) == (3, 5)
    weight, never = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))
    if world.rank == 1:
        weight.grad = torch.ones(3)
    world.add_up([weight, never])
    assert weight.grad.tolist() == [1, 1, 1] and never.grad is None
    task = {"rows": np.arange(3), "weights": torch.ones(2)}
    found = world.send(task) or task if world.rank == 0 else world.receive()
    assert found["rows"].tolist() == [0, 1, 2] and found["weights"].tolist() == [1, 1]
    assert world.first_to_say("the same", seconds=5.0) is (world.rank == 0)


def broken(world):
    """A slice that one process cannot read: that process tells it, and the others that another one has ended."""
    with pytest.raises((PeerLost, DataError)) as raised:
        trained(training(world, samples=Points(broken=5)))
    return str(raised.value)


def process(rank, folder):
    torch.set_num_threads(1)
    folder = Path(folder)
    for size in SIZES:
        if rank >= size:
            continue
        store = dist.FileStore(str(folder / f"store{size}"), size)
        world = Ranks(rank=rank, size=size, local_rank=rank, local_size=size, store=store, nccl=False)
        checks = CHECKS if size == 4 else OF_TWO if size == 2 else (plain, resumed)
        found = {check.__name__: check(world, folder) for check in checks}
        found["out_of_memory"] = out_of_memory(world, folder)
        connections(world)
        refusals(world)
        torch.save(found, folder / f"{size}_{rank}.pt")
        if size == SIZES[-1]:  # the last, for it ends the processes
            (folder / f"broken_{rank}").write_text(broken(world))
            os._exit(0)
        world.close()


def gpu(rank, folder):
    """Two processes that share a GPU, connected by gloo."""
    store = dist.FileStore(str(folder / "store"), 2)
    world = Ranks(rank=rank, size=2, local_rank=rank, local_size=2, store=store, nccl=False)
    torch.save({check.__name__: check(world, folder) for check in (plain, whole_batch)}, folder / f"2_{rank}.pt")
    world.close()


def nccl(folder):
    """One process, connected to nobody by NCCL."""
    world = Ranks(rank=0, size=1, local_rank=0, local_size=1, store=dist.FileStore(str(folder / "store"), 1), nccl=True)
    tensor, weight = torch.arange(3.0, device="cuda"), nn.Parameter(torch.zeros(2, device="cuda"))
    weight.grad = torch.ones_like(weight)
    world.fill([(tensor, 0)])
    world.add_up([weight])
    assert tensor.tolist() == [0, 1, 2] and weight.grad.tolist() == [1, 1]
    assert world.collect([1]) == [1] and world.device("auto") == "cuda:0"
    world.refuse_differences([weight])
    world.close()


def main_on_gpu(kind, folder):
    """Processes fork before CUDA is touched."""
    children = []
    for rank in range(2 if kind == "gpu" else 1):
        child = os.fork()
        if not child:
            run(lambda number=rank: gpu(number, folder) if kind == "gpu" else nccl(folder))
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit(1)
    if kind == "gpu":
        torch.save({check.__name__: check(ALONE, folder) for check in (plain, whole_batch)}, folder / "one.pt")


def main(folder):
    children = []
    for rank in range(max(SIZES)):
        child = os.fork()
        if not child:
            run(lambda number=rank: process(number, folder))
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    if failed:
        sys.exit(1)
    torch.set_num_threads(1)
    torch.save({check.__name__: check(ALONE, folder) for check in (*CHECKS, half)}, Path(folder) / "one.pt")


def run(work):
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[2:]:
        DEVICE = "cuda"
        main_on_gpu(sys.argv[2], Path(sys.argv[1]))
    else:
        main(sys.argv[1])
