"""``giseg predict``: predictions of a finished run, with the recipe that was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gisegkit.build.console import Console
from gisegkit.build.experiment import Experiment
from gisegkit.build.run_data import RunData
from gisegkit.components.writers.submission import NAME as SUBMISSION
from gisegkit.data.atomic_files import write_text
from gisegkit.data.output import Output, read_manifest
from gisegkit.data.submission import read_ids
from gisegkit.errors import RunError, SubmissionError, count, listed
from gisegkit.recipe.differences import Difference, fingerprint
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import names_culprits
from gisegkit.report.preview import pick_rows
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import Evaluation, changes, check_submission_file, noted, say_own_folder
from gisegkit.runs.parts import Part
from gisegkit.workflows.evaluate import epoch_of
from gisegkit.workflows.exclusive import in_run_folder
from gisegkit.workflows.identity import leave_out_as_before, part_of_run
from gisegkit.workflows.pages import write_preview, write_report
from gisegkit.workflows.writing import Written, write_predictions

if TYPE_CHECKING:
    import pandas as pd

PartName = Literal["auto", "unlabelled", "validation", "all"]


@dataclass(frozen=True)
class Predicted:
    """Predictions that are written.

    Attributes:
        folder: of the files.
        file: the submission; the folder if the recipe has no writer ``submission``.
        written: what each writer made.
        part: what the slices are.
        slices: how many.
        own: whether they are the run's own.
    """

    folder: Path
    file: Path
    written: tuple[Written, ...]
    part: str
    slices: int
    own: bool


@names_culprits
@in_run_folder
def predict(
    run: RunDir,
    experiment: Experiment,
    *,
    out: Path | None = None,
    part: PartName | None = None,
    own: bool = False,
    weights: Mapping[str, Any] | None = None,
) -> Predicted:
    """Write predictions with a run's best weights, and the recipe that was used beside them.

    They go to a folder of their own if the settings or the data differ from the run's own.

    Args:
        out: the submission's file, ending in .csv, outside the run folder; what other writers make goes to a folder
            beside it, whose name ends in .files. Default: ``predictions`` or ``predictions-...`` of the run.
        part: which slices; default the recipe's ``[predict] part``.
        own: whether the recipe is the run's own, though its data may have moved (``giseg run``).
        weights: of ``best.pt``, if it is loaded already.

    Raises:
        RunError: if files cannot be written, checkpoint or split is damaged, or the data do not fit the weights.
    """
    recipe, console = experiment.recipe, experiment.console
    if part is not None:
        recipe = replace(recipe, predict=replace(recipe.predict, part=part))
    changed = () if own else changes(run, recipe, experiment.registries)
    _check_out(out, run, recipe)
    weights = experiment.take_over(run, weights)
    found = _part(experiment.parts_of(run, weights), experiment, recipe.predict.part)
    for line in found.lines():
        console.say(line)
    folder = _target(run, changed, found, experiment) if out is None else files_beside(out)
    is_own = folder == run.predictions
    chosen = set(pick_rows(experiment.dataset.table, found.rows)) if is_own and not run.preview.is_file() else set()
    with Output(folder, elsewhere={} if out is None else {SUBMISSION: out}) as files:
        written, panels = write_predictions(experiment, found.rows, files, run=run.path.resolve().name, chosen=chosen)
        _list_files(files, run, experiment, found, epoch=weights["epoch"])
    made = Predicted(folder, files.files.get(SUBMISSION, folder), written, found.name, len(found.rows), is_own)
    about = _about(made, run, found, changed, epoch=epoch_of(weights))
    write_text(folder / "recipe.toml" if out is None else out.with_suffix(".recipe.toml"), noted(recipe, about))
    if panels:
        heading = f"{run.path.resolve().name}: {recipe.name}, {found.name}, {epoch_of(weights)}"
        write_preview(run.preview, panels, experiment.classes, recipe, heading=heading)
    if is_own:
        _renew_report(run, console)
    return made


def _part(split: pd.DataFrame, experiment: Experiment, name: str) -> Part:
    """The slices of a part, once the data are checked and the slices looked at."""
    leave_out_as_before(experiment, split)
    experiment.check_data(training=False)
    experiment.look_at_store()
    return part_of_run(experiment, split, lambda: predicted_part(split, experiment, name))


def files_beside(out: Path) -> Path:
    """The folder for what other writers make, where a file is given for the submission."""
    return out.with_suffix(".files")


def _check_out(out: Path | None, run: RunDir, recipe: Recipe) -> None:
    """Before long work starts: a file for the submission can be made and has a use, and nothing is in the way.

    Raises:
        RunError: if not.
    """
    if out is None:
        return
    check_submission_file(out, run)
    names = [spec.name for spec in recipe.writer]
    if "submission" not in names:
        raise RunError(
            f"--out {out}: names the file of a submission, and the recipe writes none, only {', '.join(names)}; leave "
            '--out away, or add [[writer]] name = "submission"'
        )
    beside = files_beside(out)
    if len(names) > 1 and beside.exists() and (not beside.is_dir() or any(beside.iterdir())):
        raise RunError(
            f"{beside}: exists already, and {', '.join(names)} write there; remove it, or give another --out"
        )


def _list_files(files: Output, run: RunDir, experiment: Experiment, part: Part, *, epoch: int | None) -> None:
    """Write ``files.json``; says which files of earlier predictions are gone."""
    ids = experiment.dataset.table["id"].astype(str).iloc[part.rows].tolist()
    stale = files.finish(run=run.path.resolve().name, part=part.name, epoch=epoch, ids=ids)
    if stale:
        gone = f"{count(len(stale), 'file')} of earlier predictions in {files.folder}"
        experiment.console.say(f"removed {gone}: {listed(tuple(stale))}")


def _renew_report(run: RunDir, console: Console) -> None:
    """The run's report with a link to the submission; a warning if it cannot be made."""
    try:
        write_report(run, Evaluation.own(run))
    except RunError as error:
        console.say(f"warning: the submission is written, but the report could not be made again: {error}")


def _about(made: Predicted, run: RunDir, part: Part, changed: Sequence[Difference], *, epoch: str) -> list[str]:
    """What was predicted; comments above the recipe that was used."""
    return [
        f"{made.file.name}: {count(len(part.rows), 'slice')}, {part.name}",
        f"predicted by the run {run.path.resolve().name}, weights of {epoch}",
        *(f"  {name}: {said}" for name, said in made.written if name != "submission"),
        *(f"  {line}" for line in part.lines()),
        *(f"  differs from the run: {item}" for item in changed),
    ]


def predicted_part(split: pd.DataFrame, data: RunData, part: str) -> Part:
    """The slices of ``[predict] part``; the validation slices are those of the run's ``split.csv``.

    Raises:
        DataError: if the data have no such slices.
    """
    name, rows = data.rows_to_predict(part)
    return data.part_of(split) if name == "validation" else data.named_part(split, name, rows)


def _lost(run: RunDir, ids: list[str], console: Console) -> tuple[str, ...]:
    """Ids of the run's own predictions that would not be in the new ones; none where the file is damaged."""
    before = read_manifest(run.predictions).get("ids", [])
    if run.submission.is_file():
        try:
            before = read_ids(run.submission)
        except SubmissionError as error:
            console.say(f"the run's own submission is damaged and is made again ({error})")
            return ()
    return tuple(sorted(set(before) - set(ids)))


def _target(run: RunDir, changed: Sequence[Difference], part: Part, experiment: Experiment) -> Path:
    """The folder of the run's own predictions, or where settings or data are others one of its own; says so."""
    console = experiment.console
    ids = experiment.dataset.table["id"].astype(str).iloc[part.rows].tolist()
    lost = _lost(run, ids, console)
    what = "submission" if run.submission.is_file() else "predictions"
    if not changed and part.whole and not lost:
        return run.predictions
    reasons = [str(item) for item in changed]
    if not part.whole:
        reasons.append(f"{count(len(part.rows), 'slice')} of {part.name}, not all of the run's validation")
    if lost:
        reasons.append(f"{count(len(lost), 'slice')} of the run's own {what} are not among these: {listed(lost)}")
    folder = run.path / f"predictions-{fingerprint(changed, sorted(ids))}"
    say_own_folder(folder, "predictions stay as they are", reasons, console.say)
    return folder
