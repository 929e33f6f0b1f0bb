"""Several folds of one recipe: each trains in a run folder inside the run, and together they score and predict."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from gisegkit.build.data import Rows
from gisegkit.build.ensemble import Ensemble
from gisegkit.build.experiment import Experiment
from gisegkit.build.folds import SHARED, draw_folds, of_fold, parts_of_fold
from gisegkit.build.training import verify_store
from gisegkit.data.folds import (
    FOLD,
    LEFT_OUT,
    assigned_folds,
    folds_table,
    refuse_changes,
    split_digest,
)
from gisegkit.data.output import read_manifest
from gisegkit.errors import GisegError, Interrupted, RunError, count
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import names_culprits
from gisegkit.runs.environment import describe_environment
from gisegkit.runs.folder import START, RunDir
from gisegkit.runs.members import fold_folder, members_of
from gisegkit.runs.outputs import read_scores
from gisegkit.runs.scored import number
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.identity import leave_out_as_before
from gisegkit.workflows.predict import predict
from gisegkit.workflows.resume import check_recipe
from gisegkit.workflows.run import Finished
from gisegkit.workflows.tracking import Trackers
from gisegkit.workflows.train import keep_decision, train

REFIT = "refit"
"""The run folder, inside that of the folds, of the network that trains on everything."""


@names_culprits
def train_folds(experiment: Experiment, out: Path, *, resume: bool = False, refit: bool = False) -> RunDir:
    """Train the folds of a recipe, one after another; with ``resume`` those that are finished are left as they are.

    Args:
        refit: whether to train once more, on all labelled slices, for as many epochs as the folds found best.

    Raises:
        DataError, RecipeError, ComponentError: as of ``train``.
        RunError: if the folder is in the way, in use, or holds a run of another recipe or of other data.
        Interrupted: if the user stops it; says what is kept.
    """
    return _train(experiment, out, resume=resume, refit=refit, then=None)


@names_culprits
def run_folds(experiment: Experiment, out: Path, *, resume: bool = False, refit: bool = False) -> Finished:
    """Train and evaluate the folds of a recipe, score all of them together out of fold, and predict with their mean.

    Args:
        refit: as of ``train_folds``.

    Raises:
        As of ``train_folds``, ``evaluate`` and ``predict``.
    """
    _ = experiment.rows_to_predict()  # that there are none is told now, not after the training

    def evaluated(run: RunDir, one: Experiment, trackers: Trackers) -> None:
        if not _is_evaluated(run):
            scores = evaluate(run, one, own=True, keep=True).scores["scores"]
            trackers.scores = {name: number(value) for name, value in scores.items()}

    with RunDir(out).locked(experiment.console.say):
        run = _train(experiment, out, resume=resume, refit=refit, then=evaluated)
        with _told(out, "the training is finished and kept"):
            whole = together(experiment, run)
            found = evaluate(run, whole, own=True)
            return Finished(run, found, predict(run, whole, own=True))


def together(experiment: Experiment, run: RunDir) -> Ensemble:
    """The folds of a run as one, with the data of the experiment that trained them."""
    members = members_of(run)
    whole = Ensemble(experiment.recipe, experiment.registries, console=experiment.console, run=run, members=members)
    whole.__dict__.update({name: getattr(experiment, name) for name in SHARED})
    whole.own = True
    return whole


Then = Callable[[RunDir, Experiment, Trackers], None]


def _train(experiment: Experiment, out: Path, *, resume: bool, refit: bool, then: Then | None) -> RunDir:
    going_on = resume and (out / "recipe.toml").is_file()
    if not going_on:
        RunDir.check_free(out)
    with RunDir(out).locked(experiment.console.say):
        run, assigned = _begin(experiment, out, going_on=going_on)
        try:
            for fold in experiment.recipe.split.chosen:
                say = _prefixed(experiment, f"fold {fold}")
                one = of_fold(experiment, fold, parts_of_fold(experiment, assigned, fold), say=say)
                with _told(out, f"fold {fold} is not finished", f"fold {fold}"):
                    _one_run(one, fold_folder(run, fold), then)
                one.forget()  # before that of the next fold is built
        except GisegError:
            if not going_on:
                _remove_start(run)
            raise
        if refit:
            with _told(out, "the folds are finished and kept", REFIT):
                _refit(experiment, run)
    return run


def _begin(experiment: Experiment, out: Path, *, going_on: bool) -> tuple[RunDir, Rows]:
    """The folder of the folds, new or resumed, and the fold of every row; what is wrong with the recipe is told."""
    recipe, console = experiment.recipe, experiment.console
    verify_store(experiment)
    _ = experiment.device  # a wrong name is told before the data are read
    if going_on:
        run = RunDir.open(out)
        check_recipe(run, experiment)
        split = run.split()
        if split is None:
            raise RunError(
                f"{run.path / 'split.csv'} is missing, so which case is in which fold is not known; restore it"
            )
        leave_out_as_before(experiment, split)
        experiment.check_data(training=True)
        experiment.prepare()
        # a fold that has not begun has no split to compare with
        refuse_changes(split, digests=experiment.digests, pixels=experiment.true_pixels)
        assigned = assigned_folds(experiment.dataset.table, split)
        _check_drawn(experiment, run, assigned)
        return run, assigned
    experiment.check_data(training=True)
    experiment.prepare()  # slices may be left out while they are looked at, which must come before folds are drawn
    assigned = draw_folds(experiment)
    environment = describe_environment(console.plugins, device=str(experiment.device), recipe=Path(recipe.source))
    table = folds_table(
        experiment.dataset.table,
        assigned,
        roles=experiment.roles,
        digests=experiment.digests,
        left_out=experiment.skipped,
    )
    table = experiment.noting_pixels(table)
    run = RunDir.create(out, recipe=recipe.text(), environment=environment, demo=recipe.demo, split=table)
    keep_decision(run, experiment)
    return run, assigned


def _check_drawn(experiment: Experiment, run: RunDir, assigned: Rows) -> None:
    """Check that the folds that have begun were drawn as ``split.csv`` of the whole says.

    Raises:
        RunError: if not; a case could train where it should validate.
    """
    for fold in experiment.recipe.split.chosen:
        own = RunDir(fold_folder(run, fold)).split()
        drawn = parts_of_fold(experiment, assigned, fold)
        if own is not None and split_digest(own[own["part"] != LEFT_OUT][["id", "part"]]) != split_digest(drawn):
            raise RunError(
                f"{run.path / 'split.csv'} and that of {fold_folder(run, fold)} are not of one drawing; one of them "
                "was changed or damaged: restore it from a copy"
            )


def _one_run(one: Experiment, folder: Path, then: Then | None) -> None:
    """Train a fold, unless it is trained already, and do what follows."""
    run, trackers = RunDir(folder), Trackers(one)
    with trackers:
        if is_trained(run, one):
            check_recipe(run, one)
            one.console.say("is trained already")
        else:
            train(one, folder, resume=(folder / "recipe.toml").is_file(), trackers=trackers)
            one.release_training()
        if then is not None:
            then(run, one, trackers)


def is_trained(run: RunDir, experiment: Experiment) -> bool:
    """Whether nothing is left to train: the last epoch is recorded, or training stopped early, and weights are there.

    Anything that is missing or damaged counts as not trained, so that resuming looks at it.
    """
    train = experiment.recipe.train
    with suppress(RunError):
        state = run.state() if run.recipe.is_file() else None
        stopped = state is not None and train.patience and state["since"] >= train.patience
        if state is not None and (state["epoch"] >= train.epochs or stopped):
            return bool(run.weights())
    return False


def _is_evaluated(run: RunDir) -> bool:
    """Whether scores and kept probabilities are of the run's weights."""
    digest = run.weights()["digest"]
    with suppress(RunError):
        scores = read_scores(run.evaluation)
        return scores is not None and digest == scores["weights"] == read_manifest(run.oof).get("weights")
    return False


def _prefixed(experiment: Experiment, name: str) -> Callable[[str], None]:
    return lambda line: experiment.console.say(f"{name}: {line}")


@contextmanager
def _told(out: Path, kept: str, name: str = "") -> Iterator[None]:
    """An interruption names the folder of all folds, in which the same command resumes."""
    try:
        yield
    except KeyboardInterrupt as stop:
        text = f"{name}: {stop}" if str(stop) and name else str(stop) or f"interrupted; {kept}"
        raise Interrupted(text, folder=str(out), signum=getattr(stop, "signum", 2)) from stop


def _remove_start(run: RunDir) -> None:
    """Remove the folder of folds none of which has begun: the mistake was found before, and nothing is in the way."""
    if any(run.path.glob(f"{FOLD}*/recipe.toml")):
        return
    for name in ("recipe.toml", "decision.json", *START):
        (run.path / name).unlink(missing_ok=True)


# --- refit ----------------------------------------------------------------------------------------------------------


def _refit(experiment: Experiment, run: RunDir) -> None:
    """Train once on all labelled slices into ``refit``."""
    say = _prefixed(experiment, REFIT)
    recipe, line = refit_recipe(experiment.recipe, run)
    say(line)
    one = Experiment(recipe, experiment.registries, console=replace(experiment.console, say=say))
    one.__dict__.update({name: getattr(experiment, name) for name in SHARED})
    _one_run(one, run.path / REFIT, None)
    one.forget()


def refit_recipe(recipe: Recipe, run: RunDir) -> tuple[Recipe, str]:
    """The recipe that trains on everything, and a line that says for how many epochs and why.

    The epochs are the median of the folds' best ones, the higher of the two in the middle. They stay those of the
    recipe where losses or an average of weights are planned by epochs.
    """
    best = [int(RunDir(fold_folder(run, fold)).weights()["epoch"]) for fold in recipe.split.chosen]
    train = recipe.train
    planned = train.average == "swa" or any(spec.start_epoch > 1 or spec.end_epoch for spec in recipe.loss)
    epochs = train.epochs if planned else statistics.median_high(best)
    why = "as the recipe says, because its average or its losses are planned by epochs" if planned else "the median"
    found = ", ".join(map(str, best))
    line = f"{count(epochs, 'epoch')} on all labelled slices ({why}; the folds' best epochs are {found})"
    return replace(
        recipe,
        split=replace(recipe.split, folds=1, fold=0),
        train=replace(train, epochs=epochs, patience=0, validate_every=epochs),
    ), line
