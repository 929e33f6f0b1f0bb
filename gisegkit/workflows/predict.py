"""The verb predict: a submission from a finished run, with the recipe that was used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gisegkit.build.parts import Data, Rows
from gisegkit.build.ready import Ready, Session, get_ready, in_run_folder
from gisegkit.data import rle
from gisegkit.data.atomic_files import write_text
from gisegkit.data.planes import split
from gisegkit.data.submission import read_ids, write_submission
from gisegkit.engine.predict import Scan
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import RunError, SubmissionError, count
from gisegkit.recipe.differences import Difference, fingerprint
from gisegkit.recipe.sections import Recipe
from gisegkit.registry.culprit import names_culprits
from gisegkit.report.preview import Panel, pick_rows
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import Evaluation, changes, check_submission_file, noted, say_own_folder
from gisegkit.runs.parts import Part, listed, named_part, scored_part
from gisegkit.workflows.pages import panels_of, write_preview, write_report

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
    recipe: Recipe,
    session: Session,
    *,
    out: Path | None = None,
    part: PartName | None = None,
    own: bool = False,
) -> Predicted:
    """Write a submission with a run's best weights, and the recipe that was used beside it.

    Where the settings or the data differ from the run's own, both go to a folder of their own, and the run's
    predictions stay.

    Args:
        out: the file, ending in .csv; default ``predictions/submission.csv`` in the run folder, or
            ``predictions-.../submission.csv`` beside that.
        part: which slices; default the recipe's ``[predict] part``.
        own: whether the recipe is the run's own, though its data may have moved (``giseg run``).

    Raises:
        RunError: if the submission cannot be written there, the checkpoint or the split is damaged, or the data do not
            fit the weights.
    """
    if part is not None:
        recipe = replace(recipe, predict=replace(recipe.predict, part=part))
    changed = () if own else changes(run, recipe, session.plugins.registries)
    if out is not None:
        check_submission_file(out, run)
    weights = run.weights()
    ready = get_ready(recipe, session, training=False, weights=weights)
    table = ready.data.dataset.table
    found = predicted_part(run, weights["facts"], ready.data, recipe.predict.part)
    for line in found.lines():
        session.say(line)
    target = _target(run, changed, found, table, session) if out is None else out
    is_own = target == run.submission
    panels: list[Panel] = []
    chosen = set(pick_rows(table, found.rows)) if is_own and not run.preview.is_file() else set()
    write_submission(
        target,
        _submission_rows(ready, found.rows, chosen, panels, session),
        order=getattr(ready.data.dataset, "submission_order", None),
    )
    about = [
        f"{target.name}: {count(len(found.rows), 'slice')}, {found.name}",
        f"predicted by the run {run.path.resolve().name}, weights of epoch {weights['epoch']}",
        *(f"  {line}" for line in found.lines()),
        *(f"  differs from the run: {item}" for item in changed),
    ]
    beside = target.with_suffix(".recipe.toml") if out is not None else target.with_name("recipe.toml")
    write_text(beside, noted(recipe, about))
    if panels:
        heading = f"{run.path.resolve().name}: {recipe.name}, {found.name}, epoch {weights['epoch']}"
        write_preview(run.preview, panels, ready.data.dataset.classes, recipe, heading=heading)
    if is_own:
        try:
            write_report(run, Evaluation.own(run))
        except RunError as error:
            session.say(f"warning: the submission is written, but the report could not be made again: {error}")
    return Predicted(target, found.name, len(found.rows), is_own)


def _submission_rows(
    ready: Ready, rows: Rows, chosen: set[int], panels: list[Panel], session: Session
) -> Iterator[tuple[str, str, str]]:
    """The submission's rows, scan by scan; panels of the chosen slices are added on the way."""
    ids = ready.data.dataset.table["id"]

    def encoded(scan: Scan) -> tuple[Scan, list[tuple[str, str, str]]]:
        return scan, [
            (str(ids.iloc[row]), class_name, rle.encode(plane))
            for row, mask in zip(scan.rows, scan.prediction, strict=True)
            for class_name, plane in zip(ready.data.dataset.classes, split(mask), strict=True)
        ]

    scans = ready.scans(rows, label="predict", progress=session.progress)
    with closing(threaded_map(encoded, scans, threads=min(1, ready.device.threads), ahead=1)) as found:
        for scan, lines in found:
            panels.extend(panels_of(scan, ready.data, chosen))
            del scan  # else it would live until the next one is predicted
            yield from lines


def predicted_part(run: RunDir, facts: Mapping[str, Any], data: Data, part: str) -> Part:
    """The slices of ``[predict] part``, the validation slices being those of the run's ``split.csv``."""
    split = run.verified_split(facts)
    if part == "validation" or (part == "auto" and not len(data.unlabelled)):
        return scored_part(split, data.dataset.table)
    return named_part(split, data.dataset.table, *data.part(part))


def _lost(run: RunDir, ids: list[str], session: Session) -> tuple[str, ...]:
    """Ids of the run's own submission that would not be in the new one; none where the file is damaged."""
    if not run.submission.is_file():
        return ()
    try:
        return tuple(sorted(set(read_ids(run.submission)) - set(ids)))
    except SubmissionError as error:
        session.say(f"the run's own submission is damaged and is made again ({error})")
        return ()


def _target(run: RunDir, changed: Sequence[Difference], part: Part, table: pd.DataFrame, session: Session) -> Path:
    """The run's own submission, or where settings or data are others one in a folder of its own; says so."""
    ids = table["id"].astype(str).iloc[part.rows].tolist()
    lost = _lost(run, ids, session)
    if not changed and part.whole and not lost:
        return run.submission
    reasons = [str(item) for item in changed]
    if not part.whole:
        reasons.append(f"{count(len(part.rows), 'slice')} of {part.name}, not all of the run's validation")
    if lost:
        reasons.append(f"{count(len(lost), 'slice')} of the run's own submission are not among these: {listed(lost)}")
    folder = run.path / f"predictions-{fingerprint(changed, sorted(ids))}"
    say_own_folder(folder, "predictions stay as they are", reasons, session.say)
    return folder / "submission.csv"
