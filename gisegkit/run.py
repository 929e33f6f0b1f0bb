"""The verbs that train: train, rehearse (``check --build``), and run, which trains, evaluates and predicts.

Joins the rooms: builds the parts, drives the engine, and hands what it yields to the run folder.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gisegkit.build import Data, build_training
from gisegkit.contracts import checked_dataset
from gisegkit.culprit import names_culprits
from gisegkit.data.loaders import EpochSampler
from gisegkit.dataset import build_component
from gisegkit.engine.device import pick_device
from gisegkit.engine.fit import Training, fit
from gisegkit.engine.plan import Plan
from gisegkit.engine.resident import Resident
from gisegkit.environment import describe_environment
from gisegkit.errors import RunError
from gisegkit.planning import cut, simulate, verify_store
from gisegkit.recipe import Recipe, load_recipe
from gisegkit.results import evaluate, predict
from gisegkit.rundir import RunDir
from gisegkit.session import Ready, Session, get_ready, score_all
from gisegkit.types import EpochReport, silent

CUTTING = ("memory", "micro_batch", "activation_checkpointing")
"""Keys of [train] that say how batches are cut; a run may go on with others."""

# --- train ----------------------------------------------------------------------------------------------------------


@names_culprits
def train(recipe: Recipe, out: Path, session: Session, *, resume: bool = False) -> RunDir:
    """Train a recipe into a run folder, or go on where it stopped.

    Raises:
        RunError: if the folder is in the way, or holds a run of another recipe.
    """
    run = _resumable(recipe, out, session) if resume else None
    if run is None:
        RunDir.check_free(out)
    verify_store(recipe, session.plugins.registries)
    pick_device(session.device, recipe.train.precision)  # a wrong name is told before the data are read
    dataset = checked_dataset(recipe, session.plugins.registries, say=session.say)
    resumed = run is not None and run.state() is not None
    ready = get_ready(recipe, session, training=True, resumed=resumed, prepare=True, dataset=dataset)
    training, plan = assemble(ready, session)
    if run is None:
        environment = describe_environment(session.plugins, device=str(ready.device), recipe=Path(recipe.source))
        environment["memory"] = plan.as_dict() if plan else None
        run = RunDir.create(out, recipe=recipe.text(), environment=environment, demo=recipe.demo)
        run.write_split(split_table(ready.data))
    count = sum(parameter.numel() for parameter in ready.model.parameters())
    session.say(
        f"{recipe.model.name}: {count / 1e6:.2f} million parameters on {ready.device}; "
        f"{len(ready.data.train)} slices train, {len(ready.data.validation)} validate"
    )
    state = run.state()
    if state is not None:
        state = recut(state, training, recipe, run, session)
        session.say(f"continuing behind epoch {state['epoch']} of {recipe.train.epochs}")
    with ExitStack() as closing:
        if recipe.tracker:
            run.trackers.mkdir(exist_ok=True)
        trackers = [
            build_component(spec, session.plugins.registries, folder=str(run.trackers)) for spec in recipe.tracker
        ]
        for tracker in trackers:
            closing.callback(tracker.finish, {"demo": recipe.demo, "name": recipe.name, "folder": str(run.path)})
        for report in fit(training, state=state, progress=session.progress):
            run.record(report, ready.facts)
            for tracker in trackers:
                tracker.report(report)
            for note in report.notes:
                session.say(note)
            session.say(epoch_line(report, recipe.monitor))
    return run


def assemble(ready: Ready, session: Session) -> tuple[Training, Plan | None]:
    """The built parts as ``fit`` takes them, and the plan that its batches are cut by."""
    recipe, device, registries = ready.recipe, ready.device, session.plugins.registries
    parts = build_training(recipe, registries, ready.data, ready.model)
    name = recipe.monitor.split("/")[0]
    resident = Resident(ready.data.source, ready.data.train) if recipe.input.store == "device" else None
    simulation = simulate(
        recipe,
        registries,
        model=ready.model,
        criterion=parts.criterion,
        channels=ready.data.channels,
        classes=len(ready.data.dataset.classes),
        device=device,
        resident=resident.size if resident else 0,
    )
    cutting, plan, line = cut(recipe, simulation, device)
    ready.at_once = cutting.micro_batch if plan else 0
    for said in filter(None, (line, str(resident or ""))):
        session.say(said)
    training = Training(
        model=ready.model,
        criterion=parts.criterion,
        optimizer=parts.optimizer,
        schedule=parts.schedule,
        samples=parts.batches.samples,
        sampler=parts.batches.sampler,
        transforms=parts.batches.transforms,
        validate=lambda: score_all(ready, ready.data.validation, session.progress).scores(),
        device=device,
        seed=recipe.seed,
        epochs=recipe.train.epochs,
        cutting=cutting,
        clip_norm=recipe.train.clip_norm,
        channels_last=recipe.train.channels_last,
        workers=device.workers(recipe.train.workers),
        monitor=recipe.monitor,
        higher_is_better=ready.metrics[name].higher_is_better,
        patience=recipe.train.patience,
        validate_every=recipe.train.validate_every,
        compile=recipe.train.compile,
        resident=resident,
    )
    return training, plan


def recut(state: dict[str, Any], training: Training, recipe: Recipe, run: RunDir, session: Session) -> dict[str, Any]:
    """The checkpoint with the batches cut as the recipe now says, where that differs from the run's own recipe.

    Else they stay cut as they were, so that the resumed run equals the uninterrupted one.
    """
    stored = load_recipe(run.recipe, registries=session.plugins.registries).train
    cutting = training.cutting
    if all(getattr(stored, key) == getattr(recipe.train, key) for key in CUTTING):
        kept = (state.get("micro_batch", cutting.micro_batch), state.get("recomputing", cutting.recomputing))
        if kept != (cutting.micro_batch, cutting.recomputing):
            recomputing = ", activations recomputed" if kept[1] else ""
            session.say(f"batches stay cut as they were before: micro-batches of {kept[0]}{recomputing}")
        return state
    session.say(f"batches are cut anew, into micro-batches of {cutting.micro_batch} (were {state['micro_batch']})")
    return {**state, "micro_batch": cutting.micro_batch, "recomputing": cutting.recomputing}


def _resumable(recipe: Recipe, out: Path, session: Session) -> RunDir | None:
    """The run to continue; None where nothing stands there yet."""
    if not (out / "recipe.toml").is_file():
        session.say(f"{out} holds no run yet; starting from the first epoch")
        return None
    run = RunDir.open(out)
    stored = load_recipe(run.recipe, registries=session.plugins.registries).as_dict()
    wanted = recipe.as_dict()
    for data in (stored, wanted):
        for key in ("workers", *CUTTING):  # what changes no result, or only how the batches are cut
            data["train"].pop(key)
        for key in ("store", "store_limit"):
            data["input"].pop(key)
    differences = [
        f"{key}: {stored.get(key)!r} in the run, {wanted.get(key)!r} now"
        for key in {**stored, **wanted}
        if stored.get(key) != wanted.get(key)
    ]
    if differences:
        raise RunError(
            f"{out} holds a run of another recipe, so it cannot be continued with this one:\n  "
            + "\n  ".join(differences)
            + f"\nUse its own ({run.recipe}), or another --out"
        )
    return run


def split_table(data: Data) -> pd.DataFrame:
    """Which slice is in which part: columns id and part (train, validation, unlabelled or unused)."""
    part = np.full(len(data.dataset.table), "unused", dtype=object)
    both = np.intersect1d(data.train, data.validation)
    for name, rows in (("unlabelled", data.unlabelled), ("train", data.train), ("validation", data.validation)):
        part[rows] = name
    part[both] = "train+validation"
    return pd.DataFrame({"id": data.dataset.table["id"], "part": part})


def epoch_line(report: EpochReport, monitor: str) -> str:
    """One epoch as a line of text."""
    score = f"  {monitor} {report.monitored:.4f}{' *' if report.best else ''}" if report.scores else ""
    memory = f"  {report.peak_memory / 2**30:.2f} GiB" if report.peak_memory else ""
    return (
        f"epoch {report.epoch}/{report.epochs}  loss {report.loss:.4f}{score}  lr {report.learning_rate:.2e}  "
        f"{report.images_per_second:.1f} slices/s  {report.seconds:.0f} s{memory}"
    )


# --- run ------------------------------------------------------------------------------------------------------------


def run_recipe(recipe: Recipe, out: Path, session: Session, *, resume: bool = False) -> tuple[RunDir, dict[str, Any]]:
    """Train, evaluate and predict; returns the run folder and the scores."""
    run = train(recipe, out, session, resume=resume)
    scores = evaluate(run, recipe, session)
    predict(run, recipe, session)
    return run, scores


# --- check --build --------------------------------------------------------------------------------------------------


@names_culprits
def rehearse(recipe: Recipe, session: Session) -> list[str]:
    """Build every part and push one tiny batch through training and evaluation; writes nothing.

    Returns:
        What was built and seen, line by line.
    """
    verify_store(recipe, session.plugins.registries)
    pick_device(session.device, recipe.train.precision)  # a wrong name is told before the data are read
    dataset = checked_dataset(recipe, session.plugins.registries, say=session.say)
    ready = get_ready(recipe, session, training=True, dataset=dataset)
    rows = ready.data.train[:2]
    validation = ready.data.validation[:1]
    training = assemble(ready, session)[0]
    training = replace(
        training,
        resident=Resident(ready.data.source, rows) if training.resident else None,
        sampler=EpochSampler(rows, batch_size=2, seed=recipe.seed),
        validate=lambda: score_all(ready, validation, silent).scores(),
        epochs=1,
        workers=0,
    )
    parameters = [parameter.numel() for parameter in ready.model.parameters()]
    lines = [f"{recipe.model.name}: {sum(parameters):,} parameters in {len(parameters)} tensors, on {ready.device}"]
    height, width = recipe.input.size
    channels, classes = ready.data.channels, len(ready.data.dataset.classes)
    lines.append(f"input [B, {channels}, {height}, {width}], output [B, {classes}, {height}, {width}]")
    lines.append(f"{len(ready.data.train)} slices train, {len(ready.data.validation)} validate")
    for report in fit(training):
        scores = ", ".join(f"{name} {report.scores[name]:.4f}" for name in ready.metrics)
        lines.append(f"one batch of {len(rows)}: loss {report.loss:.4f}; one slice evaluated: {scores}")
        lines.extend(report.notes)
    return lines
