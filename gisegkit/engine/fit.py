"""Training as a generator: yields one EpochReport at a time, touches no files, prints nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn

from gisegkit.data.loaders import Loaded, training_loader
from gisegkit.data.randomness import BATCH, NETWORK, generator, seeded
from gisegkit.engine.epoch_losses import Ledger
from gisegkit.engine.forward import Forward
from gisegkit.engine.pieces import Pieces, edges
from gisegkit.engine.shared_batches import SharedBatches
from gisegkit.engine.step import attempts, is_out_of_memory, prepare_batch, split
from gisegkit.engine.training import BestSoFar, Training, capture, restore
from gisegkit.engine.validation_loss import mean_loss
from gisegkit.errors import TrainingError
from gisegkit.types import EpochReport, Progress, silent


def fit(
    training: Training, *, state: Mapping[str, Any] | None = None, progress: Progress = silent
) -> Iterator[EpochReport]:
    """Train epoch by epoch, from the start or from a checkpoint's state.

    Args:
        state: ``EpochReport.state`` of the last finished epoch; the rest is as if training had never stopped.
        progress: shown per optimizer step.

    Yields:
        A report after each epoch; its ``state`` and ``weights`` are live tensors, to be saved before the next epoch.

    Raises:
        TrainingError: if the loss is not finite; names epoch and step, before the epoch is reported.
        RunError: if the state is not one of this network, optimizer and schedule.
    """
    scaler, best_so_far = training.device.scaler(), BestSoFar()
    first = 1 if state is None else restore(training, scaler, best_so_far, state) + 1
    forward, loader = make_forward(training), make_loader(training, progress)
    for epoch in range(first, training.epochs + 1):
        if training.patience and best_so_far.since >= training.patience:
            return
        training.sampler.epoch = epoch
        training.device.reset_peak()
        start = time.perf_counter()
        batches = progress(loader, f"epoch {epoch}/{training.epochs}", len(loader))
        loss, losses, images = train_epoch(training, forward, batches, scaler, epoch)
        seconds, peak = time.perf_counter() - start, training.device.peak()
        training.average.after_epoch(epoch, partial(images_for_statistics, training, loader))
        validated = validate(training, epoch)
        monitored = validated.scores.get(training.monitor, math.nan)
        higher = training.higher_is_better
        yield EpochReport(
            epoch=epoch,
            epochs=training.epochs,
            loss=loss,
            losses=losses,
            validation_loss=validated.loss,
            scores=validated.scores,
            monitored=monitored,
            best=bool(validated.scores) and best_so_far.update(monitored, higher=higher, epoch=epoch),
            learning_rate=float(training.optimizer.param_groups[0]["lr"]),
            seconds=seconds,
            images_per_second=images / seconds,
            peak_memory=peak,
            notes=tuple(training.micro_batching.notes),
            weights=validated.weights,
            state=capture(training, scaler, best_so_far, epoch),
        )
        training.micro_batching.notes.clear()


class Validated(NamedTuple):
    """The weights to deploy after an epoch, and what validation says of them.

    Attributes:
        scores: by name; empty if the epoch is not validated.
        loss: mean loss of a validation slice; NaN if the epoch is not validated.
        weights: the network's state.
    """

    scores: Mapping[str, float]
    loss: float
    weights: Mapping[str, Any]


def validate(training: Training, epoch: int) -> Validated:
    """Validate the weights to deploy, if this epoch is to be validated.

    Raises:
        TrainingError: if the monitored score is not among the scores.
    """
    with training.average.applied():
        weights = training.model.state_dict()
        if epoch % training.validate_every and epoch != training.epochs:
            return Validated({}, math.nan, weights)
        scores, loss = training.validate(), mean_loss(training)
    if training.monitor not in scores:
        raise TrainingError(f"there is no score {training.monitor!r} to choose the best epoch by: {', '.join(scores)}")
    return Validated(scores, loss, weights)


def make_forward(training: Training) -> Forward:
    """The network as a step calls it: on the pieces of a micro-batch that this process has."""
    world, synchronized = training.world, training.sync_batch_norm
    pieces = Pieces(training.model, training.micro_batching, world, synchronized=synchronized)
    fails_alone = synchronized and world.size > 1
    return Forward(training.model, compiled=training.compile, pieces=pieces, fails_alone=fails_alone)


def make_loader(training: Training, progress: Progress) -> Any:
    """What yields an epoch's batches: gathered on the device where the slices are kept there, else read by workers.

    Several processes share the reading, but each keeps all slices that are kept on a device.
    """
    samples, sampler, device, world = training.samples, training.sampler, training.device, training.world
    if training.resident is not None:
        return training.resident.load(device, sampler, progress=progress)
    if world.size > 1:
        return SharedBatches(samples, sampler, workers=training.workers, device=device, world=world)
    return training_loader(samples, sampler, workers=training.workers, pin=device.pin)


def images_for_statistics(training: Training, loader: Any) -> Iterator[torch.Tensor]:
    """Training images on the device, in pieces, for the running statistics of averaged weights.

    They are those of an epoch 0, which never trains: the same at each call. The network's own draws (dropout) are
    those of their step while the caller uses the images.
    """
    sampler, device, micro_batching = training.sampler, training.device, training.micro_batching
    trained, sampler.epoch, sampler.at_most = sampler.epoch, 0, training.statistics_batches
    try:
        for step, loaded in enumerate(loader):
            draws = generator(training.seed, BATCH, 0, step)
            batch = prepare_batch(loaded, training.transforms, device, draws, channels_last=training.channels_last)
            for _, part in split(batch, micro_batching.size, least=micro_batching.least):
                cuts = edges(len(part.images), micro_batching.pieces, least=micro_batching.least)
                for start, stop in pairwise(cuts):
                    with seeded(training.seed, NETWORK, 0, step), device.autocast():
                        yield part.images[start:stop]
    finally:
        sampler.epoch, sampler.at_most = trained, None


def train_epoch(
    training: Training, forward: Forward, batches: Any, scaler: torch.amp.GradScaler, epoch: int
) -> tuple[float, dict[str, float], int]:
    """One pass over the training slices; returns the mean loss of an image, that of each term, and the images.

    The schedule counts batches: whether the scaler left a step out, because float16 gradients overflowed, is known to
    the device alone.
    """
    device, optimizer, micro_batching = training.device, training.optimizer, training.micro_batching
    criterion, world = training.criterion, training.world
    criterion.epoch = epoch
    training.model.train()
    ledger = Ledger(criterion.names, device=device, epoch=epoch)
    for step, loaded in enumerate(batches):
        images = len(loaded.images)
        for attempt in attempts(forward, micro_batching, device, images=images, epoch=epoch, step=step, world=world):
            with attempt:
                terms = train_batch(training, forward, scaler, loaded, epoch=epoch, step=step)
        world.add_up(training.model.parameters())
        ledger.add(terms, images=images, step=step, rate=optimizer.param_groups[0]["lr"])
        update(training, scaler, epoch, step)
        training.average.after_step()
        optimizer.zero_grad(set_to_none=True)
        training.schedule.step()
    means = ledger.means()
    check_weights_finite(training, epoch)
    values = {
        name: float(mean) for name, mean, active in zip(criterion.names, means, criterion.active, strict=True) if active
    }
    return float(criterion.total(means)), values, ledger.images


def train_batch(
    training: Training, forward: Forward, scaler: torch.amp.GradScaler, loaded: Loaded, *, epoch: int, step: int
) -> torch.Tensor:
    """The gradients of one batch, added to those of the weights. Nothing here waits for the device.

    All draws derive from the seed, ``epoch`` (from 1) and ``step`` (from 0), so that a repeated step is the same.

    Returns:
        The mean value of each of the criterion's T terms, ``[T]``, on the device.
    """
    criterion, device, micro_batching = training.criterion, training.device, training.micro_batching
    draws = generator(training.seed, BATCH, epoch, step)
    batch = prepare_batch(loaded, training.transforms, device, draws, channels_last=training.channels_last)
    values = []
    with seeded(training.seed, NETWORK, epoch, step):
        for share, part in split(batch, micro_batching.size, least=micro_batching.least):
            with device.autocast(), forward.blamed():
                logits = forward(part.images)  # [B, K, H, W]
            targets = [weight * criterion.terms(logits, target) for weight, target in part.targets]  # [T] each
            terms = share * torch.stack(targets).sum(0)
            loss = scaler.scale(criterion.total(terms))
            with forward.blamed():
                loss.backward()  # type: ignore[no-untyped-call]
            values.append(terms.detach())
    return torch.stack(values).sum(0)


def check_weights_finite(training: Training, epoch: int) -> None:
    """A gradient may overflow where the loss did not; the next loss would tell, but none follows the last step.

    Raises:
        TrainingError: if a weight is not finite, or not the same in all processes, before the epoch is reported, and so
            before it is saved.
    """
    weights = dict(training.model.named_parameters())
    finite = torch.stack([weight.isfinite().all() for weight in weights.values()]).tolist()
    if not all(finite):
        name = list(weights)[finite.index(False)]
        raise TrainingError(
            f"weights became NaN or infinite in epoch {epoch} (first: {name}) although every loss was finite: a "
            f"gradient overflowed ({training.device}). Lower the learning rate (--set optimizer.lr=...), clip "
            "gradients (--set train.max_grad_norm=1.0) or compute in float32 (--set train.precision=fp32); last.pt "
            "holds the last finished epoch"
        )
    training.world.refuse_differences(list(weights.values()))


def update(training: Training, scaler: torch.amp.GradScaler, epoch: int, step: int) -> None:
    """The optimizer's step, on gradients that are clipped where the recipe says so.

    Raises:
        TrainingError: if memory runs out in it; which weights it had changed is not known, so it is not repeated.
    """
    try:
        scaler.unscale_(training.optimizer)
        if training.max_grad_norm:
            nn.utils.clip_grad_norm_(training.model.parameters(), training.max_grad_norm)
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
