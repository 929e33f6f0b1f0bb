"""Training as a generator: yields one EpochReport at a time, touches no files, prints nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from gisegkit.data.loaders import EpochSampler, Loaded, TrainingSet, training_loader
from gisegkit.data.randomness import BATCH, NETWORK, generator, seeded
from gisegkit.engine.device import Device
from gisegkit.errors import TrainingError
from gisegkit.types import IGNORE, Batch, EpochReport, Progress, silent


class BatchTransform(Protocol):
    """What a ``[[batch_transform]]`` component returns."""

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch: ...


@dataclass
class Training:
    """Everything that ``fit`` works with, built and on the device."""

    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    samples: TrainingSet
    sampler: EpochSampler
    transforms: Sequence[BatchTransform]
    validate: Callable[[], Mapping[str, float]]
    device: Device
    seed: int
    epochs: int
    micro_batch: int
    clip_norm: float
    channels_last: bool
    workers: int
    monitor: str
    higher_is_better: bool
    patience: int
    validate_every: int


@dataclass
class Standing:
    """The best score so far, how many validations ago it was, and how many there were."""

    best: float = math.nan
    since: int = 0
    count: int = 0

    def update(self, score: float, *, higher: bool) -> bool:
        """Whether the score is the best so far; an undefined one is only where it is the very first."""
        first = self.count == 0
        self.count += 1
        better = math.isnan(self.best) or (score > self.best if higher else score < self.best)
        if first or (better and not math.isnan(score)):
            self.best, self.since = score, 0
            return True
        self.since += 1
        return False


def fit(
    training: Training, *, state: Mapping[str, Any] | None = None, progress: Progress = silent
) -> Iterator[EpochReport]:
    """Train epoch by epoch, from the start or from a checkpoint's state.

    Args:
        training: the built parts.
        state: ``EpochReport.state`` of the last finished epoch; training goes on behind it exactly as if it had never
            stopped.
        progress: shown per optimizer step.

    Yields:
        A report after each epoch; its ``state`` refers to live tensors and must be saved before the next epoch.

    Raises:
        TrainingError: if the loss is not finite; names epoch and step.
    """
    scaler = training.device.scaler()
    standing = Standing()
    first = 1
    if state is not None:
        first = restore(training, scaler, standing, state) + 1
    pin = training.device.pin
    loader = training_loader(training.samples, training.sampler, workers=training.workers, pin=pin)
    for epoch in range(first, training.epochs + 1):
        if training.patience and standing.since >= training.patience:
            return
        training.sampler.epoch = epoch
        training.device.reset_peak()
        start = time.perf_counter()
        batches = progress(loader, f"epoch {epoch}/{training.epochs}", len(loader))
        try:
            loss, images = train_epoch(training, batches, scaler, epoch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                "batch normalisation cannot train on a single value a channel: this network shrinks a slice to one "
                "pixel, and a micro-batch held one slice. Raise train.micro_batch, train.batch_size or input.size"
            ) from error
        seconds = time.perf_counter() - start
        validated = epoch % training.validate_every == 0 or epoch == training.epochs
        scores = training.validate() if validated else {}
        monitored = scores.get(training.monitor, math.nan)
        best = validated and standing.update(monitored, higher=training.higher_is_better)
        yield EpochReport(
            epoch=epoch,
            epochs=training.epochs,
            loss=loss,
            scores=scores,
            monitored=monitored,
            best=best,
            learning_rate=float(training.optimizer.param_groups[0]["lr"]),
            seconds=seconds,
            images_per_second=images / seconds,
            peak_memory=training.device.peak(),
            state=capture(training, scaler, standing, epoch),
        )


def train_epoch(training: Training, batches: Any, scaler: torch.amp.GradScaler, epoch: int) -> tuple[float, int]:
    """One pass over the training slices; returns the mean loss of an image and the number of images."""
    training.model.train()
    total, images = 0.0, 0
    for step, loaded in enumerate(batches):
        rng = generator(training.seed, BATCH, epoch, step)
        batch = feed(loaded, training.transforms, training.device, rng, channels_last=training.channels_last)
        loss = 0.0
        with seeded(training.seed, NETWORK, epoch, step):
            for share, part in split(batch, training.micro_batch):
                with training.device.autocast():
                    logits = training.model(part.images)
                part_loss = share * sum(weight * training.criterion(logits, target) for weight, target in part.targets)
                scaler.scale(part_loss).backward()
                loss += float(part_loss.detach())
        if not math.isfinite(loss):
            raise TrainingError(_not_finite(training, loss, epoch, step))
        scaler.unscale_(training.optimizer)
        if training.clip_norm:
            nn.utils.clip_grad_norm_(training.model.parameters(), training.clip_norm)
        scale = scaler.get_scale()
        scaler.step(training.optimizer)
        scaler.update()
        training.optimizer.zero_grad(set_to_none=True)
        if scaler.get_scale() >= scale:  # else float16 gradients overflowed and the scaler left the step out
            training.schedule.step()
        total += loss * len(batch.images)
        images += len(batch.images)
    return total / images, images


def feed(
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
    images = loaded.images.to(device.device, non_blocking=True, memory_format=memory_format)
    masks = loaded.masks.to(device.device, non_blocking=True)
    target = masks.float().masked_fill_(masks == IGNORE, math.nan)
    return Batch(images, ((1.0, target),), loaded.rows)


def split(batch: Batch, size: int) -> Iterator[tuple[float, Batch]]:
    """Micro-batches of at most ``size`` images, as equal as can be, each with its share of the batch."""
    count = len(batch.images)
    edges = np.linspace(0, count, -(-count // size) + 1).round().astype(int).tolist()
    for start, stop in pairwise(edges):
        targets = tuple((weight, target[start:stop]) for weight, target in batch.targets)
        yield (stop - start) / count, Batch(batch.images[start:stop], targets, batch.rows[start:stop])


def capture(training: Training, scaler: torch.amp.GradScaler, standing: Standing, epoch: int) -> dict[str, Any]:
    """Everything needed to go on behind this epoch; no generator is among it."""
    return {
        "epoch": epoch,
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "scaler": scaler.state_dict(),
        "best": standing.best,
        "since": standing.since,
        "validations": standing.count,
    }


def restore(training: Training, scaler: torch.amp.GradScaler, standing: Standing, state: Mapping[str, Any]) -> int:
    """The reverse of ``capture``; returns the last finished epoch."""
    training.model.load_state_dict(state["model"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.schedule.load_state_dict(state["schedule"])
    scaler.load_state_dict(state["scaler"])
    standing.best, standing.since = float(state["best"]), int(state["since"])
    standing.count = int(state["validations"])
    return int(state["epoch"])


def _not_finite(training: Training, loss: float, epoch: int, step: int) -> str:
    rate = training.optimizer.param_groups[0]["lr"]
    return (
        f"the loss is {loss} at epoch {epoch}, step {step + 1} (learning rate {rate:g}, {training.device}). Lower "
        "the learning rate (--set optimizer.lr=...), clip gradients (--set train.clip_norm=1.0) or compute in float32 "
        "(--set train.precision=fp32); last.pt holds the last finished epoch."
    )
