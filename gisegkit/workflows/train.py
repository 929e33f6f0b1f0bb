"""``giseg train``: an experiment's epochs, each recorded in the run folder and told as it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from gisegkit.build.contracts import check_contracts
from gisegkit.build.experiment import Experiment
from gisegkit.build.training import Assembled, verify_store
from gisegkit.data.folds import refuse_changes, split_digest
from gisegkit.engine.fit import fit
from gisegkit.engine.training import Training
from gisegkit.engine.tta import views_of
from gisegkit.errors import ComponentError, Interrupted, TrainingError, parameters
from gisegkit.registry.annotations import show
from gisegkit.registry.culprit import names_culprits
from gisegkit.runs.checkpoints import loads_again
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.runs.environment import describe_environment
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import decided_otherwise
from gisegkit.types import EpochReport
from gisegkit.workflows.epochs import Watch, kept_epoch, kept_without_average
from gisegkit.workflows.resume import Kept, keep_micro_batches, look_up, note_resume
from gisegkit.workflows.several import ask_to_train, refuse_unshared
from gisegkit.workflows.tracking import Trackers


class Begun(NamedTuple):
    """A run that is about to train.

    Attributes:
        state: that it resumes from; None for a new run.
        facts: what checkpoints say of the data.
        later: slices that are evaluated and predicted after training.
    """

    run: RunDir
    state: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    later: int


@names_culprits
def train(
    experiment: Experiment, out: Path, *, resume: bool = False, alone: bool = True, trackers: Trackers | None = None
) -> RunDir:
    """Train into a run folder, or resume the run there. No other process may write there meanwhile.

    Args:
        alone: False if the caller evaluates and predicts next; the time left then includes both.
        trackers: not yet started, and finished by the caller; by default they are finished after the training.

    Raises:
        DataError: if the caller predicts next and the data have no slices of ``[predict] part``.
        RunError: if the folder is in the way, in use, or holds a run of another recipe or of other data.
        TrainingError: if the recipe asks for several folds.
        Interrupted: if the user stops it; says what is kept.
    """
    for _ in epochs(experiment, out, resume=resume, alone=alone, trackers=trackers):
        pass
    return RunDir(out)


def epochs(
    experiment: Experiment, out: Path, *, resume: bool = False, alone: bool = True, trackers: Trackers | None = None
) -> Iterator[EpochReport]:
    """Train epoch by epoch; whoever takes the reports may stop at any of them, and resume later.

    Args:
        alone, trackers: as of ``train``.

    Yields:
        The report of an epoch that is recorded in the run folder.

    Raises:
        RunError, TrainingError, Interrupted: as of ``train``.
    """
    refuse_unshared(experiment)
    if experiment.recipe.split.several:
        raise TrainingError(
            f"split.fold = {show(experiment.recipe.split.fold)} trains a run for each fold, and here one is trained: "
            "use gisegkit.train or giseg train, or set split.fold to a number"
        )
    if not (resume and (out / "recipe.toml").is_file()):
        RunDir.check_free(out)
    with RunDir(out).locked(experiment.console.say):
        begun = _begin(experiment, out, resume=resume, alone=alone)
        with Trackers(experiment) if trackers is None else nullcontext(trackers) as followed:
            followed.start(begun.run, epoch=0 if begun.state is None else int(begun.state["epoch"]))
            yield from _fit_and_keep(experiment, begun, followed)
        recipe, entries = experiment.recipe, begun.run.metrics()
        for line in kept_epoch(entries, recipe.monitor, experiment.metrics, experiment.classes):
            experiment.console.say(line)
        for line in kept_without_average(entries, first=experiment.assembled.training.average.first):
            experiment.console.say(line)


def _begin(experiment: Experiment, out: Path, *, resume: bool, alone: bool) -> Begun:
    """Everything before the first epoch: what may fail at once comes before slices are prepared, which takes long."""
    kept = look_up(experiment, out) if resume else None
    if kept is None:
        RunDir.check_free(out)
    state = kept.state if kept else None
    verify_store(experiment)
    _ = experiment.device  # a wrong name is told before the data are read
    check_contracts(experiment)
    if kept is not None:
        experiment.keep_split(kept.split)
    experiment.check_data(training=True)
    later = 0 if alone else _slices_later(experiment)
    _ = experiment.writers  # what cannot be built is told now, not after the training
    if state is not None:
        experiment.expect(state["facts"])
    _ = experiment.model, experiment.views
    experiment.prepare()
    if kept is not None:
        refuse_changes(kept.split, digests=experiment.digests, pixels=experiment.true_pixels)
    assembled = experiment.assembled
    verify_states(experiment, _states(assembled.training))
    run = _record_start(experiment, out, kept, assembled)
    keep_decision(run, experiment)
    if kept is not None and state is not None:
        state = keep_micro_batches(kept.state or {}, assembled.training, experiment, run)
        experiment.console.say(f"resuming after epoch {state['epoch']} of {experiment.recipe.train.epochs}")
    parts = kept.split if kept else experiment.split_table
    return Begun(run, state, {**experiment.facts, "split": split_digest(parts)}, later)


def keep_decision(run: RunDir, experiment: Experiment) -> None:
    """Write ``decision.json`` as the recipe says, unless the run has one; says where that differs from the recipe."""
    if not run.decision.is_file():
        stored = StoredDecision.of_recipe(experiment.recipe, experiment.classes, exclusive=experiment.exclusive)
        run.write_json(run.decision.name, stored.as_dict())
    elif differing := decided_otherwise(run, experiment.registries):
        keys = " and ".join(key for key, _, _ in differing)
        experiment.console.say(
            f"{run.decision} differs from the recipe in {keys}: training and giseg run decide as the recipe says, "
            "giseg evaluate and giseg predict as the file says"
        )


def _slices_later(experiment: Experiment) -> int:
    """How many slices are evaluated and predicted after the training; each view of a slice counts as one."""
    name, rows = experiment.rows_to_predict()
    validated, views = len(experiment.split.validation), 1 + len(views_of(experiment.recipe.predict.tta))
    tested = len(experiment.rows_of_role("test"))
    return views * (validated + tested + (validated if name == "validation" else len(rows)))


def _record_start(experiment: Experiment, out: Path, kept: Kept | None, assembled: Assembled) -> RunDir:
    """The run folder: a new one, or the resumed one with a note of what is different now; says what will train."""
    recipe, console, split = experiment.recipe, experiment.console, experiment.split
    environment = describe_environment(console.plugins, device=str(experiment.device), recipe=Path(recipe.source))
    environment["processes"] = console.world.size
    if kept is None:
        environment["memory"] = assembled.plan.as_dict() if assembled.plan else None
        table = experiment.split_table
        run = RunDir.create(out, recipe=recipe.text(), environment=environment, demo=recipe.demo, split=table)
    else:
        run = kept.run
        note_resume(kept, environment, console)
    if console.world.size > 1:
        console.say(str(console.world))
    count = sum(parameter.numel() for parameter in experiment.model.parameters())
    console.say(
        f"{recipe.model.name}: {parameters(count)} on {experiment.device}; "
        f"{len(split.train)} slices train, {len(split.validation)} validate"
        + (f", {tested} test" if (tested := len(experiment.rows_of_role("test"))) else "")
    )
    return run


def _fit_and_keep(experiment: Experiment, begun: Begun, trackers: Trackers) -> Iterator[EpochReport]:
    """The epochs, each recorded and told as it ends."""
    recipe, console = experiment.recipe, experiment.console
    run, state, facts, later = begun
    training = experiment.assembled.training
    done, first, starred = 0 if state is None else int(state["epoch"]), True, False
    watch = Watch(
        epochs=recipe.train.epochs,
        slices=len(experiment.split.validation),
        validate_every=recipe.train.validate_every,
        later=later,
        may_stop=bool(recipe.train.patience),
    )
    ask_to_train(experiment, state)
    try:
        for report in fit(training, state=state, progress=console.progress):
            if first:
                verify_states(experiment, report.state)
            run.record(report, facts)
            done, first = report.epoch, False
            trackers.report(report)
            for note in report.notes:
                console.say(note)
            console.say(epoch_line(report, recipe.monitor) + watch.left(report))
            if report.best and not starred:
                starred = True
                console.say("  (* best so far; best.pt keeps its weights)")
            yield report
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


def verify_states(experiment: Experiment, state: Mapping[str, Any]) -> None:
    """Check that what plugins put into a checkpoint can be read again, before a night is trained for nothing.

    gisegkit's own components are checked by its tests.

    Raises:
        ComponentError: if a state holds what only code could read; names place and owner.
    """
    recipe = experiment.recipe
    for spec in (recipe.model, recipe.optimizer, recipe.schedule):
        owner = experiment.owner(spec)
        problem = "" if owner.distribution == "gisegkit" else loads_again({"state": state[str(spec.kind)]})
        if problem:
            raise ComponentError(
                f"{spec.place}: the state_dict of {spec.kind} {spec.name!r} of {owner} cannot be kept in a checkpoint: "
                f"{problem}; so a run with it could not be resumed"
            )


def epoch_line(report: EpochReport, monitor: str) -> str:
    """One epoch as a line of text."""
    score = f"  {monitor} {report.monitored:.4f}{' *' if report.best else ''}" if report.scores else ""
    validated = f" (validation {report.validation_loss:.4f})" if report.scores else ""
    memory = f"  {report.peak_memory / 2**30:.2f} GiB" if report.peak_memory else ""
    return (
        f"epoch {report.epoch}/{report.epochs}  loss {report.loss:.4f}{validated}{score}  "
        f"lr {report.learning_rate:.2e}  {report.images_per_second:.1f} slices/s  {report.seconds:.0f} s{memory}"
    )
