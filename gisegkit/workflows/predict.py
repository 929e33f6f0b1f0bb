"""``giseg predict``: a submission from a finished run, with the recipe that was used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gisegkit.build.console import Console
from gisegkit.build.data import ExperimentData, Rows
from gisegkit.build.experiment import Experiment
from gisegkit.data import rle
from gisegkit.data.atomic_files import write_text
from gisegkit.data.planes import split
from gisegkit.data.submission import read_ids, write_submission
from gisegkit.engine.decision import DecidedSlice
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import RunError, SubmissionError, count
from gisegkit.recipe.differences import Difference, fingerprint
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import names_culprits
from gisegkit.report.preview import Panel, pick_rows
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import Evaluation, changes, check_submission_file, noted, say_own_folder
from gisegkit.runs.parts import Part, listed, named_part, scored_part
from gisegkit.workflows.exclusive import in_run_folder
from gisegkit.workflows.pages import panel_of, write_preview, write_report

PartName = Literal["auto", "unlabelled", "validation", "all"]


@dataclass(frozen=True)
class Predicted:
    """A submission that is written.

    Attributes:
        file: the submission.
        part: what its slices are.
        slices: how many.
        own: whether it is the run's own.
    """

    file: Path
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
    """Write a submission with a run's best weights, and the recipe that was used beside it.

    If the settings or the data differ from the run's own, both go to a folder of their own.

    Args:
        out: the file, ending in .csv; default ``submission.csv`` in ``predictions`` or ``predictions-...`` of the run.
        part: which slices; default the recipe's ``[predict] part``.
        own: whether the recipe is the run's own, though its data may have moved (``giseg run``).
        weights: of ``best.pt``, if it is loaded already.

    Raises:
        RunError: if the submission cannot be written there, the checkpoint or the split is damaged, or the data do not
            fit the weights.
    """
    recipe, console = experiment.recipe, experiment.console
    if part is not None:
        recipe = replace(recipe, predict=replace(recipe.predict, part=part))
    changed = () if own else changes(run, recipe, experiment.registries)
    if out is not None:
        check_submission_file(out, run)
    weights = run.weights() if weights is None else weights
    experiment.load(weights)
    experiment.check_data(training=False)
    experiment.look_at_store()
    table = experiment.dataset.table
    found = predicted_part(run, weights["facts"], experiment, recipe.predict.part)
    for line in found.lines():
        console.say(line)
    target = _target(run, changed, found, table, console) if out is None else out
    is_own = target == run.submission
    panels: list[Panel] = []
    chosen = set(pick_rows(table, found.rows)) if is_own and not run.preview.is_file() else set()
    order = getattr(experiment.dataset, "submission_order", None)
    write_submission(target, _submission_rows(experiment, found.rows, chosen, panels), order=order)
    _write_recipe(target, run, recipe, found, changed, epoch=weights["epoch"], elsewhere=out is not None)
    heading = f"{run.path.resolve().name}: {recipe.name}, {found.name}, epoch {weights['epoch']}"
    if panels:
        write_preview(run.preview, panels, experiment.classes, recipe, heading=heading)
    if is_own:
        _renew_report(run, console)
    return Predicted(target, found.name, len(found.rows), is_own)


def _renew_report(run: RunDir, console: Console) -> None:
    """The run's report with a link to the submission; a warning if it cannot be made."""
    try:
        write_report(run, Evaluation.own(run))
    except RunError as error:
        console.say(f"warning: the submission is written, but the report could not be made again: {error}")


def _write_recipe(
    target: Path,
    run: RunDir,
    recipe: Recipe,
    part: Part,
    changed: Sequence[Difference],
    *,
    epoch: int,
    elsewhere: bool,
) -> None:
    """The recipe that was used, beside the submission, with what was predicted in comments above it."""
    about = [
        f"{target.name}: {count(len(part.rows), 'slice')}, {part.name}",
        f"predicted by the run {run.path.resolve().name}, weights of epoch {epoch}",
        *(f"  {line}" for line in part.lines()),
        *(f"  differs from the run: {item}" for item in changed),
    ]
    file = target.with_suffix(".recipe.toml") if elsewhere else target.with_name("recipe.toml")
    write_text(file, noted(recipe, about))


def _submission_rows(
    experiment: Experiment, rows: Rows, chosen: set[int], panels: list[Panel]
) -> Iterator[tuple[str, str, str]]:
    """The submission's rows, slice by slice; panels of the chosen slices are added on the way."""
    ids = experiment.dataset.table["id"]

    def encoded(item: DecidedSlice) -> tuple[DecidedSlice, list[tuple[str, str, str]]]:
        planes = zip(experiment.classes, split(item.prediction), strict=True)
        return item, [(str(ids.iloc[item.row]), class_name, rle.encode(plane)) for class_name, plane in planes]

    slices = experiment.slices(rows, label="predict", progress=experiment.console.progress)
    threads = experiment.device.threads
    with closing(threaded_map(encoded, slices, threads=min(1, threads), ahead=threads)) as found:
        for item, lines in found:
            if item.row in chosen:
                panels.append(panel_of(item, experiment.dataset))
            del item  # else it would live until the next one is predicted
            yield from lines


def predicted_part(run: RunDir, facts: Mapping[str, Any], data: ExperimentData, part: str) -> Part:
    """The slices of ``[predict] part``; the validation slices are those of the run's ``split.csv``.

    Raises:
        DataError: if the data have no such slices.
    """
    split, table = run.verified_split(facts), data.dataset.table
    name, rows = data.rows_to_predict(part)
    return scored_part(split, table) if name == "validation" else named_part(split, table, name, rows)


def _lost(run: RunDir, ids: list[str], console: Console) -> tuple[str, ...]:
    """Ids of the run's own submission that would not be in the new one; none where the file is damaged."""
    if not run.submission.is_file():
        return ()
    try:
        return tuple(sorted(set(read_ids(run.submission)) - set(ids)))
    except SubmissionError as error:
        console.say(f"the run's own submission is damaged and is made again ({error})")
        return ()


def _target(run: RunDir, changed: Sequence[Difference], part: Part, table: pd.DataFrame, console: Console) -> Path:
    """The run's own submission, or where settings or data are others one in a folder of its own; says so."""
    ids = table["id"].astype(str).iloc[part.rows].tolist()
    lost = _lost(run, ids, console)
    if not changed and part.whole and not lost:
        return run.submission
    reasons = [str(item) for item in changed]
    if not part.whole:
        reasons.append(f"{count(len(part.rows), 'slice')} of {part.name}, not all of the run's validation")
    if lost:
        reasons.append(f"{count(len(lost), 'slice')} of the run's own submission are not among these: {listed(lost)}")
    folder = run.path / f"predictions-{fingerprint(changed, sorted(ids))}"
    say_own_folder(folder, "predictions stay as they are", reasons, console.say)
    return folder / "submission.csv"
