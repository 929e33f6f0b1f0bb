"""The verbs that train: train, rehearse (``check --build``), and run, which trains, evaluates and predicts.

Joins the rooms: builds the parts, drives the engine, and hands what it yields to the run folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gisegkit.build.contracts import checked_dataset
from gisegkit.build.memory_plan import choose_micro_batches, needs_prediction, simulate, verify_store
from gisegkit.build.parts import build_training
from gisegkit.build.ready import Ready, Session, get_ready, score_all
from gisegkit.data.folds import split_digest, split_table
from gisegkit.data.loaders import EpochSampler
from gisegkit.engine.device import pick_device
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.fit import fit
from gisegkit.engine.monitor import direction_of_monitor
from gisegkit.engine.plan import Plan
from gisegkit.engine.training import Training
from gisegkit.errors import ComponentError, Interrupted, parameters
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import names_culprits
from gisegkit.runs.checkpoints import loads_again
from gisegkit.runs.environment import describe_environment
from gisegkit.runs.folder import RunDir
from gisegkit.types import EpochReport, silent
from gisegkit.workflows.epochs import Watch, kept_epoch
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.predict import predict
from gisegkit.workflows.resume import look_up, note_resume, recut
from gisegkit.workflows.tracking import Trackers

# --- train ----------------------------------------------------------------------------------------------------------


@names_culprits
def train(recipe: Recipe, out: Path, session: Session, *, resume: bool = False, alone: bool = True) -> RunDir:
    """Train a recipe into a run folder, or go on where it stopped. No other process may write there meanwhile.

    Args:
        alone: False if the caller evaluates and predicts next; the time left then includes both.

    Raises:
        DataError: if the caller predicts next and the data have no slices of ``[predict] part``.
        RunError: if the folder is in the way, in use, or holds a run of another recipe or of other data.
        Interrupted: if the user stops it; says what is kept.
    """
    if not (resume and (out / "recipe.toml").is_file()):
        RunDir.check_free(out)
    with RunDir(out).locked(session.say):
        return _train(recipe, out, session, resume=resume, alone=alone)


def _train(recipe: Recipe, out: Path, session: Session, *, resume: bool, alone: bool) -> RunDir:
    kept = look_up(recipe, out, session) if resume else None
    if kept is None:
        RunDir.check_free(out)
    verify_store(recipe, session.plugins.registries)
    pick_device(session.device, recipe.train.precision)  # a wrong name is told before the data are read
    dataset = checked_dataset(recipe, session.plugins.registries, say=session.say)
    state = kept.state if kept else None
    ready = get_ready(
        recipe,
        session,
        training=True,
        facts=state["facts"] if state else None,
        split=kept.split if kept else None,
        prepare=True,
        dataset=dataset,
    )
    validated = len(ready.data.validation)
    later = 0 if alone else validated + len(ready.data.part(recipe.predict.part)[1])
    training, plan = assemble(ready, session)
    verify_states(recipe, session, _states(training))
    environment = describe_environment(session.plugins, device=str(ready.device), recipe=Path(recipe.source))
    split = (
        split_table(ready.data.dataset.table, ready.data.train, ready.data.validation) if kept is None else kept.split
    )
    if kept is None:
        environment["memory"] = plan.as_dict() if plan else None
        run = RunDir.create(out, recipe=recipe.text(), environment=environment, demo=recipe.demo, split=split)
    else:
        run = kept.run
        note_resume(kept, environment, session)
    count = sum(parameter.numel() for parameter in ready.model.parameters())
    session.say(
        f"{recipe.model.name}: {parameters(count)} on {ready.device}; "
        f"{len(ready.data.train)} slices train, {len(ready.data.validation)} validate"
    )
    if state is not None:
        if state.get("precision") != ready.device.precision:
            session.say(f"precision was {state.get('precision')}, is {ready.device.precision} now")
        state = recut(state, training, recipe, run, session)
        session.say(f"resuming after epoch {state['epoch']} of {recipe.train.epochs}")
    watch = Watch(
        epochs=recipe.train.epochs,
        slices=validated,
        validate_every=recipe.train.validate_every,
        later=later,
        may_stop=bool(recipe.train.patience),
    )
    _fit_and_keep(recipe, run, session, training, state, {**ready.facts, "split": split_digest(split)}, watch)
    for line in kept_epoch(run.metrics(), recipe.monitor, ready.metrics, ready.data.dataset.classes):
        session.say(line)
    return run


def _fit_and_keep(
    recipe: Recipe,
    run: RunDir,
    session: Session,
    training: Training,
    state: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    watch: Watch,
) -> None:
    """The epochs, each recorded and told as it ends."""
    done, first, starred = 0 if state is None else int(state["epoch"]), True, False
    summary = {"demo": recipe.demo, "name": recipe.name, "folder": str(run.path)}
    try:
        with Trackers(recipe, run, session, summary) as trackers:
            for report in fit(training, state=state, progress=session.progress):
                if first:
                    verify_states(recipe, session, report.state)
                run.record(report, facts)
                done, first = report.epoch, False
                trackers.report(report)
                for note in report.notes:
                    session.say(note)
                session.say(epoch_line(report, recipe.monitor) + watch.left(report))
                if report.best and not starred:
                    starred = True
                    session.say("  (* best so far; best.pt keeps its weights)")
    except KeyboardInterrupt as stop:
        kept = (
            f"{done} epoch{'s are' if done > 1 else ' is'} kept in {run.path / 'last.pt'}" if done else "none is kept"
        )
        raise Interrupted(
            f"interrupted in epoch {min(done + 1, training.epochs)}; {kept}",
            folder=str(run.path),
            signum=getattr(stop, "signum", 2),
        ) from stop


def _states(training: Training) -> dict[str, Any]:
    parts = ("model", "optimizer", "schedule")
    return {part: getattr(training, part).state_dict() for part in parts}


def verify_states(recipe: Recipe, session: Session, state: Mapping[str, Any]) -> None:
    """Check that what plugins put into a checkpoint can be read again, before a night is trained for nothing.

    gisegkit's own components are checked by its tests.

    Raises:
        ComponentError: if a state holds what only code could read; names place and owner.
    """
    for spec in (recipe.model, recipe.optimizer, recipe.schedule):
        owner = session.plugins.registries[spec.kind].get(spec.name).owner
        problem = "" if owner.distribution == "gisegkit" else loads_again({"state": state[str(spec.kind)]})
        if problem:
            raise ComponentError(
                f"{spec.place}: the state_dict of {spec.kind} {spec.name!r} of {owner} cannot be kept in a checkpoint: "
                f"{problem}; so a run with it could not be resumed"
            )


def assemble(ready: Ready, session: Session) -> tuple[Training, Plan | None]:
    """The built parts as ``fit`` takes them, and the plan that its batches are cut by."""
    recipe, device, registries = ready.recipe, ready.device, session.plugins.registries
    parts = build_training(recipe, registries, ready.data, ready.model)
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
        needed=needs_prediction(recipe, device),
    )
    micro_batching, plan, line = choose_micro_batches(recipe, simulation, device)
    ready.at_once = micro_batching.size if plan else 0
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
        micro_batching=micro_batching,
        clip_norm=recipe.train.clip_norm,
        channels_last=recipe.train.channels_last,
        workers=device.workers(recipe.train.workers),
        monitor=recipe.monitor,
        higher_is_better=bool(direction_of_monitor(recipe, ready.metrics, ready.data.dataset.classes)),
        patience=recipe.train.patience,
        validate_every=recipe.train.validate_every,
        compile=recipe.train.compile,
        resident=resident,
    )
    return training, plan


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
    if not (resume and (out / "recipe.toml").is_file()):
        RunDir.check_free(out)
    with RunDir(out).locked(session.say):
        run = train(recipe, out, session, resume=resume, alone=False)
        try:
            scores = evaluate(run, recipe, session, own=True).scores
            predict(run, recipe, session, own=True)
        except KeyboardInterrupt as stop:
            raise Interrupted(
                "interrupted in evaluation or prediction; the training is finished and kept",
                folder=str(run.path),
                signum=getattr(stop, "signum", 2),
            ) from stop
    return run, dict(scores)


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
    sizes = [parameter.numel() for parameter in ready.model.parameters()]
    lines = [f"{recipe.model.name}: {sum(sizes):,} parameters in {len(sizes)} tensors, on {ready.device}"]
    height, width = recipe.input.size
    channels, classes = ready.data.channels, len(ready.data.dataset.classes)
    lines.append(f"input [B, {channels}, {height}, {width}], output [B, {classes}, {height}, {width}]")
    lines.append(f"{len(ready.data.train)} slices train, {len(ready.data.validation)} validate")
    for report in fit(training):
        verify_states(recipe, session, report.state)
        scores = ", ".join(f"{name} {report.scores[name]:.4f}" for name in ready.metrics)
        lines.append(f"one batch of {len(rows)}: loss {report.loss:.4f}; one slice evaluated: {scores}")
        lines.extend(report.notes)
    return lines
