"""What ``fit`` works with: an experiment's training parts, and how its batches are cut to fit the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gisegkit.build.memory_plan import choose_micro_batches, needs_prediction, simulate
from gisegkit.data.loaders import Key, TrainingSet
from gisegkit.engine.averaging import Average, Ema, Swa
from gisegkit.engine.monitor import direction_of_monitor
from gisegkit.engine.plan import Plan
from gisegkit.engine.training import HeldOut, Training
from gisegkit.errors import ComponentError, Mistake, RecipeError, count, listed
from gisegkit.recipe.epochs import first_in_mean
from gisegkit.recipe.sections import Train
from gisegkit.testing.schedules import snapshots_problem

if TYPE_CHECKING:
    from gisegkit.build.experiment import Experiment


class Assembled(NamedTuple):
    """What ``fit`` works with, and the plan that batches are cut by (None if nothing is planned)."""

    training: Training
    plan: Plan | None


def assemble(experiment: Experiment) -> Assembled:
    """The training parts of an experiment; says how its batches are cut, and what is kept on the device."""
    recipe, device, console = experiment.recipe, experiment.device, experiment.console
    resident = experiment.resident
    simulation = simulate(experiment, needed=needs_prediction(recipe, device))
    micro_batching, plan, line = choose_micro_batches(recipe.train, simulation, device, size=console.world.size)
    for said in filter(None, (line, str(resident or ""))):
        console.say(said)
    training = Training(
        model=experiment.model,
        criterion=experiment.criterion,
        optimizer=experiment.optimizer,
        schedule=experiment.schedule,
        samples=experiment.samples,
        sampler=experiment.sampler,
        transforms=experiment.transforms,
        validate=lambda: experiment.score(experiment.split.validation, console.progress).scores(),
        device=device,
        seed=recipe.seed,
        epochs=recipe.train.epochs,
        micro_batching=micro_batching,
        max_grad_norm=recipe.train.max_grad_norm,
        channels_last=recipe.train.channels_last,
        workers=device.workers(recipe.train.workers),
        monitor=recipe.monitor,
        higher_is_better=bool(direction_of_monitor(recipe, experiment.metrics, experiment.classes)),
        patience=recipe.train.patience,
        validate_every=recipe.train.validate_every,
        average=make_average(experiment),
        held_out=make_held_out(experiment),
        statistics_batches=recipe.train.swa_batches,
        compile=recipe.train.compile,
        sync_batch_norm=recipe.train.sync_batch_norm,
        resident=resident,
        world=console.world,
    )
    return Assembled(training, plan)


def make_held_out(experiment: Experiment) -> HeldOut:
    """The validation slices in batches of the training's size, since a loss over a whole batch depends on it."""
    recipe = experiment.recipe
    rows, batch_size = np.sort(experiment.split.validation).tolist(), recipe.train.batch_size
    keys: list[Key] = [(0, row) for row in rows]
    batches = [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
    return HeldOut(TrainingSet(experiment.source, None, seed=recipe.seed), batches)


def make_average(experiment: Experiment) -> Average:
    """What deploys the weights of ``[train] average``; says which steps count if the schedule tells them.

    Raises:
        ComponentError: if the schedule's ``snapshots`` are not steps of this training.
    """
    train, model = experiment.recipe.train, experiment.model
    if train.average == "ema":
        return Ema(model, decay=train.ema_decay)
    if train.average != "swa":
        return Average(model)
    spec, given = experiment.recipe.schedule, getattr(experiment.schedule, "snapshots", None)
    if given is None:
        return Swa(model, first=first_in_mean(train))
    an_epoch = len(experiment.sampler)
    if problem := snapshots_problem(given, steps=an_epoch * train.epochs):
        raise ComponentError(f"{spec.place}: schedule {spec.name!r}: {problem}")
    for line in snapshot_lines(list(given), train, an_epoch=an_epoch, schedule=spec.name):
        experiment.console.say(line)
    return Swa(model, first=-(-given[0] // an_epoch), snapshots=given)


def snapshot_lines(snapshots: list[int], train: Train, *, an_epoch: int, schedule: str) -> Iterator[str]:
    """What a mean of the weights after these steps is made of, and what is doubtful about that.

    Args:
        an_epoch: steps of an epoch.
        schedule: its name.
    """
    ends = [f"{step / an_epoch:.4g}" for step in snapshots]
    yield f'train.average = "swa": the mean of the {count(len(ends), "snapshot")} of schedule {schedule!r}, ' + (
        f"after epoch{'s' if len(ends) > 1 else ''} {listed(ends)}"
    )
    if len(snapshots) == 1:
        yield 'warning: the mean of one snapshot is its weights; more cycles give more, or use train.average = "none"'
    if train.swa_start != Train().swa_start:
        yield f"train.swa_start = {train.swa_start} has no effect, because schedule {schedule!r} tells its snapshots"


def verify_store(experiment: Experiment) -> None:
    """Check that no policy on the CPU is to change slices that are kept on the device.

    Raises:
        RecipeError: if one is.
    """
    recipe = experiment.recipe
    if recipe.input.store != "device":
        return
    spec = recipe.augmentation
    if not getattr(experiment.augmentation, "changes_nothing", False):
        found = f'augmentation.name = "{spec.name}" works on the CPU, and input.store = "device" has no slices there'
        remedy = (
            'use augmentation.name = "none" and a batch transform such as "final_device", as recipes/'
            'unet_effb1_device.toml does, or input.store = "resized"'
        )
        raise RecipeError(recipe.source, [Mistake(spec.place, found, remedy)])
