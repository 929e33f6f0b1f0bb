"""What training works with, and its state: what a checkpoint keeps, and how a run takes it up again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from gisegkit.data.loaders import EpochSampler, Key, TrainingSet
from gisegkit.engine.averaging import Average
from gisegkit.engine.checkpointing import disable, enable
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import Device
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.step import BatchTransform, MicroBatching
from gisegkit.engine.world import ALONE, World
from gisegkit.errors import RunError


class HeldOut(NamedTuple):
    """Slices that do not train: their samples without augmentation, and the keys of each batch."""

    samples: TrainingSet
    batches: Sequence[list[Key]]


@dataclass
class Training:
    """Everything that ``fit`` works with, built and on the device.

    Attributes:
        held_out: slices whose loss is computed at each validation.
        average: the weights to deploy, and how they follow those of training.
        statistics_batches: training batches from which the running statistics of averaged weights are computed.
        world: the processes that train together.
    """

    model: nn.Module
    criterion: Criterion
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    samples: TrainingSet
    sampler: EpochSampler
    transforms: Sequence[BatchTransform]
    validate: Callable[[], Mapping[str, float]]
    device: Device
    seed: int
    epochs: int
    micro_batching: MicroBatching
    max_grad_norm: float
    channels_last: bool
    workers: int
    monitor: str
    higher_is_better: bool
    patience: int
    validate_every: int
    average: Average
    held_out: HeldOut
    statistics_batches: int = 0
    compile: bool = False
    sync_batch_norm: bool = False
    resident: Resident | None = None
    world: World = ALONE


@dataclass
class BestSoFar:
    """The best score so far, its epoch, how many validations ago it was, and how many there were."""

    best: float = math.nan
    epoch: int = 0
    since: int = 0
    count: int = 0

    def update(self, score: float, *, higher: bool, epoch: int = 0) -> bool:
        """Whether the score is the best so far; an undefined one is only where it is the very first."""
        first = self.count == 0
        self.count += 1
        better = math.isnan(self.best) or (score > self.best if higher else score < self.best)
        if first or (better and not math.isnan(score)):
            self.best, self.epoch, self.since = float(score), epoch, 0
            return True
        self.since += 1
        return False


def capture(training: Training, scaler: torch.amp.GradScaler, best_so_far: BestSoFar, epoch: int) -> dict[str, Any]:
    """Everything needed to go on after this epoch; no generator is among it."""
    return {
        "epoch": epoch,
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "scaler": scaler.state_dict(),
        "precision": training.device.precision,
        "best": best_so_far.best,
        "best_epoch": best_so_far.epoch,
        "since": best_so_far.since,
        "validations": best_so_far.count,
        "micro_batch": training.micro_batching.size,
        "least": training.micro_batching.least,
        "recomputing": training.micro_batching.recomputing,
        "pieces": training.micro_batching.pieces,
        "average": training.average.state_dict(),
    }


def restore(training: Training, scaler: torch.amp.GradScaler, best_so_far: BestSoFar, state: Mapping[str, Any]) -> int:
    """The reverse of ``capture``; returns the last finished epoch.

    Raises:
        RunError: if the state is not one of this network, optimizer and schedule; names the first that does not fit.
    """
    part = ""
    try:
        for part in ("model", "optimizer", "schedule"):
            fitting = getattr(training, part)
            fitting.load_state_dict(state[part])
            if part == "optimizer":
                refuse_other_shapes(fitting)
        part = "scaler"
        if scaler.is_enabled() and state["scaler"]:  # empty if the run was not in float16 until now
            scaler.load_state_dict(state["scaler"])
        part = "best score"
        best_so_far.best, best_so_far.since = float(state["best"]), int(state["since"])
        best_so_far.epoch, best_so_far.count = int(state.get("best_epoch", 0)), int(state["validations"])
        part = "average"
        training.average.load_state_dict(state.get("average", {}))
        part = "micro-batch"
        training.micro_batching.size = int(state.get("micro_batch", training.micro_batching.size))
        training.micro_batching.least = int(state.get("least", training.micro_batching.least))
        training.micro_batching.pieces = int(state.get("pieces", 1))  # older checkpoints are of one process
        epoch = int(state["epoch"])
    except Exception as error:  # torch's and a plugin's own, of whatever the state lacks or has too much
        lines = [line.strip() for line in str(error).strip().splitlines()] or [""]
        said = " ".join(lines[:2])[:200]
        raise RunError(
            f"last.pt does not fit this recipe: its {part} cannot be taken over ({type(error).__name__}: {said}); "
            "restore last.pt from a copy of the run, or train again with another --out"
        ) from error
    disable(training.micro_batching.blocks)
    if state.get("recomputing"):
        enable(training.micro_batching.blocks)
    return epoch


def refuse_other_shapes(optimizer: torch.optim.Optimizer) -> None:
    """Torch takes over an optimizer's state by number alone, whatever its shapes.

    Raises:
        ValueError: if what it remembers of a weight has another shape than the weight.
    """
    for weight, remembered in optimizer.state.items():
        for name, value in remembered.items():
            by_weight = name.startswith("exp_avg") or name == "momentum_buffer"
            if by_weight and isinstance(value, torch.Tensor) and value.shape != weight.shape:
                raise ValueError(f"{name} of shape {list(value.shape)} for a weight of shape {list(weight.shape)}")
