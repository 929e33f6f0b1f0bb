"""Training as a generator: yields one EpochReport at a time, touches no files, prints nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from gisegkit.data.loaders import EpochSampler, TrainingSet, training_loader
from gisegkit.engine.checkpointing import disable, enable
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import Device
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.epoch_losses import Ledger
from gisegkit.engine.forward import Forward
from gisegkit.engine.step import BatchTransform, Cutting, accumulate, is_out_of_memory
from gisegkit.errors import RunError, TrainingError
from gisegkit.types import EpochReport, Progress, silent


@dataclass
class Training:
    """Everything that ``fit`` works with, built and on the device."""

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
    cutting: Cutting
    clip_norm: float
    channels_last: bool
    workers: int
    monitor: str
    higher_is_better: bool
    patience: int
    validate_every: int
    compile: bool = False
    resident: Resident | None = None


@dataclass
class Standing:
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


def fit(
    training: Training, *, state: Mapping[str, Any] | None = None, progress: Progress = silent
) -> Iterator[EpochReport]:
    """Train epoch by epoch, from the start or from a checkpoint's state.

    Args:
        training: the built parts.
        state: ``EpochReport.state`` of the last finished epoch; training goes on after it exactly as if it had never
            stopped.
        progress: shown per optimizer step.

    Yields:
        A report after each epoch; its ``state`` refers to live tensors and must be saved before the next epoch.

    Raises:
        TrainingError: if the loss is not finite; names epoch and step, before the epoch is reported.
        RunError: if the state is not one of this network, optimizer and schedule.
    """
    scaler = training.device.scaler()
    standing = Standing()
    first = 1
    if state is not None:
        first = restore(training, scaler, standing, state) + 1
    forward = Forward(training.model, compiled=training.compile)
    loader = make_loader(training, progress)
    for epoch in range(first, training.epochs + 1):
        if training.patience and standing.since >= training.patience:
            return
        training.sampler.epoch = epoch
        training.device.reset_peak()
        start = time.perf_counter()
        batches = progress(loader, f"epoch {epoch}/{training.epochs}", len(loader))
        try:
            loss, losses, images = train_epoch(training, forward, batches, scaler, epoch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                "batch normalisation cannot train on a single value a channel: this network shrinks a slice to one "
                "pixel, and a micro-batch held one slice. Raise train.micro_batch, train.batch_size or input.size"
            ) from error
        seconds, memory = time.perf_counter() - start, training.device.peak()
        validated = epoch % training.validate_every == 0 or epoch == training.epochs
        scores = training.validate() if validated else {}
        if validated and training.monitor not in scores:
            raise TrainingError(
                f"there is no score {training.monitor!r} to choose the best epoch by: {', '.join(scores)}"
            )
        monitored = scores.get(training.monitor, math.nan)
        best = validated and standing.update(monitored, higher=training.higher_is_better, epoch=epoch)
        yield EpochReport(
            epoch=epoch,
            epochs=training.epochs,
            loss=loss,
            losses=losses,
            scores=scores,
            monitored=monitored,
            best=best,
            learning_rate=float(training.optimizer.param_groups[0]["lr"]),
            seconds=seconds,
            images_per_second=images / seconds,
            peak_memory=memory,
            notes=tuple(training.cutting.notes),
            state=capture(training, scaler, standing, epoch),
        )
        training.cutting.notes.clear()


def make_loader(training: Training, progress: Progress) -> Any:
    """What yields an epoch's batches: gathered on the device where the slices are kept there, else read by workers."""
    if training.resident is not None:
        return training.resident.load(training.device, training.sampler, progress=progress)
    pin = training.device.pin
    return training_loader(training.samples, training.sampler, workers=training.workers, pin=pin)


def train_epoch(
    training: Training, forward: Forward, batches: Any, scaler: torch.amp.GradScaler, epoch: int
) -> tuple[float, dict[str, float], int]:
    """One pass over the training slices; returns the mean loss of an image, that of each term, and the images.

    The schedule counts batches: whether the scaler left a step out, because float16 gradients overflowed, is known to
    the device alone.
    """
    criterion, optimizer = training.criterion, training.optimizer
    criterion.epoch = epoch
    training.model.train()
    ledger = Ledger(criterion.names, device=training.device, epoch=epoch)
    for step, loaded in enumerate(batches):
        terms = accumulate(
            loaded,
            forward=forward,
            criterion=criterion,
            transforms=training.transforms,
            cutting=training.cutting,
            device=training.device,
            channels_last=training.channels_last,
            seed=training.seed,
            place=(epoch, step),
            backward=lambda loss: scaler.scale(loss).backward(),  # type: ignore[no-untyped-call]
        )
        ledger.add(terms, images=len(loaded.images), step=step, rate=optimizer.param_groups[0]["lr"])
        update(training, scaler, epoch, step)
        optimizer.zero_grad(set_to_none=True)
        training.schedule.step()
    means = ledger.means()
    refuse_spoilt_weights(training, epoch)
    values = {
        name: float(mean) for name, mean, active in zip(criterion.names, means, criterion.active, strict=True) if active
    }
    return float(criterion.total(means)), values, ledger.images


def refuse_spoilt_weights(training: Training, epoch: int) -> None:
    """A gradient may overflow where the loss did not; the next loss would tell, but none follows the last step.

    Raises:
        TrainingError: if a weight is not finite, before the epoch is reported, and so before it is saved.
    """
    weights = dict(training.model.named_parameters())
    finite = torch.stack([weight.isfinite().all() for weight in weights.values()]).tolist()
    if not all(finite):
        name = list(weights)[finite.index(False)]
        raise TrainingError(
            f"the weights are not finite at the end of epoch {epoch}, {name} first, though every loss was: a gradient "
            f"overflowed ({training.device}). Lower the learning rate (--set optimizer.lr=...), clip gradients (--set "
            "train.clip_norm=1.0) or compute in float32 (--set train.precision=fp32); last.pt holds the last finished "
            "epoch"
        )


def update(training: Training, scaler: torch.amp.GradScaler, epoch: int, step: int) -> None:
    """The optimizer's step, on gradients that are clipped where the recipe says so.

    Raises:
        TrainingError: if memory runs out in it; which weights it had changed is not known, so it is not repeated.
    """
    try:
        scaler.unscale_(training.optimizer)
        if training.clip_norm:
            nn.utils.clip_grad_norm_(training.model.parameters(), training.clip_norm)
        scaler.step(training.optimizer)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"memory ran out while the optimizer updated the weights, at epoch {epoch}, step {step + 1}: what it "
            "remembers of each weight did not fit beside them. Take a smaller network, an optimizer that remembers "
            "less (sgd), or free memory; then go on with --resume: last.pt holds the last epoch"
        ) from error
    scaler.update()


def capture(training: Training, scaler: torch.amp.GradScaler, standing: Standing, epoch: int) -> dict[str, Any]:
    """Everything needed to go on after this epoch; no generator is among it."""
    return {
        "epoch": epoch,
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "scaler": scaler.state_dict(),
        "precision": training.device.precision,
        "best": standing.best,
        "best_epoch": standing.epoch,
        "since": standing.since,
        "validations": standing.count,
        "micro_batch": training.cutting.micro_batch,
        "least": training.cutting.least,
        "recomputing": training.cutting.recomputing,
    }


def restore(training: Training, scaler: torch.amp.GradScaler, standing: Standing, state: Mapping[str, Any]) -> int:
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
        if scaler.is_enabled() and state["scaler"]:  # empty where the run was not in float16 until now
            scaler.load_state_dict(state["scaler"])
        part = "standing"
        standing.best, standing.since = float(state["best"]), int(state["since"])
        standing.epoch, standing.count = int(state.get("best_epoch", 0)), int(state["validations"])
        part = "cutting"
        training.cutting.micro_batch = int(state.get("micro_batch", training.cutting.micro_batch))
        training.cutting.least = int(state.get("least", training.cutting.least))
        epoch = int(state["epoch"])
    except Exception as error:  # torch's and a plugin's own, of whatever the state lacks or has too much
        lines = [line.strip() for line in str(error).strip().splitlines()] or [""]
        said = " ".join(lines[:2])[:200]
        raise RunError(
            f"last.pt does not fit this recipe: its {part} cannot be taken over ({type(error).__name__}: {said}); "
            "restore last.pt from a copy of the run, or train anew with another --out"
        ) from error
    disable(training.cutting.blocks)
    if state.get("recomputing"):
        enable(training.cutting.blocks)
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
