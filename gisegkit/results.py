"""The verbs on a finished run: evaluate and predict, and the pictures and pages that come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gisegkit.build import Data, Rows
from gisegkit.data import rle
from gisegkit.data.planes import split
from gisegkit.data.submission import write_submission
from gisegkit.engine.evaluate import score_scans
from gisegkit.engine.overlap import ordered
from gisegkit.engine.predict import Scan
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import DataError
from gisegkit.recipe import Recipe, load_recipe
from gisegkit.report.page import render_page
from gisegkit.report.preview import Panel, draw, encode_png, pick_rows
from gisegkit.rundir import RunDir
from gisegkit.session import Session, get_ready, in_run_folder
from gisegkit.writing import write

# --- evaluate -------------------------------------------------------------------------------------------------------


def open_run(path: Path, session: Session, *, root: str | None, overrides: Sequence[str] = ()) -> tuple[RunDir, Recipe]:
    """A finished run and its recipe, its data possibly elsewhere than when it was trained.

    Raises:
        RunError: if there is no run; RecipeError if its recipe cannot be used here.
    """
    run = RunDir.open(path)
    sets = list(overrides)
    if root is not None:
        sets.append(f"dataset.root={root}")
    return run, load_recipe(run.recipe, registries=session.plugins.registries, overrides=sets)


@in_run_folder
def evaluate(run: RunDir, recipe: Recipe, session: Session) -> dict[str, Any]:
    """Score a run's best weights on its validation slices and write ``evaluation/``, preview and report.

    Data that hold none of the run's validation slices are scored whole.

    Returns:
        What ``evaluation/scores.json`` holds.
    """
    weights = run.weights()
    ready = get_ready(recipe, session, training=False, weights=weights)
    part, rows = _scored_rows(run, ready.data)
    if part != "validation":
        session.say(f"none of the run's validation slices is here; scoring all {len(rows)} labelled slices")
    board = Scoreboard(ready.metrics, ready.data.dataset.classes)
    panels: list[Panel] = []
    chosen = set(pick_rows(ready.data.dataset.table, rows))
    scans = ready.scans(rows, label="evaluate", progress=session.progress)
    for scan in score_scans(scans, board, ready.data.dataset, threads=ready.device.threads):
        panels += panels_of(scan, ready.data, chosen)
        del scan  # else it would live until the next one is predicted
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in ready.model.parameters()]
    scores = {
        "demo": recipe.demo,
        "name": recipe.name,
        "part": part,
        "slices": len(rows),
        "scans": int(ready.data.dataset.table["volume"].iloc[rows].nunique()),
        "epoch": weights["epoch"],
        "threshold": recipe.evaluate.threshold,
        "parameters": sum(size for size, _ in sizes),
        "trainable_parameters": sum(size for size, trainable in sizes if trainable),
        "scores": board.scores(),
        "conventions": board.conventions,
        "higher_is_better": {name: metric.higher_is_better for name, metric in ready.metrics.items()},
        "parts": board.parts,
    }
    run.write_evaluation(scores, board.tables())
    write_preview(run, panels, ready.data.dataset.classes, recipe, heading=f"{recipe.name}: {part}")
    write_report(run, recipe)
    return scores


def _scored_rows(run: RunDir, data: Data) -> tuple[str, Rows]:
    table = data.dataset.table
    labelled = table["labelled"].to_numpy(dtype=bool)
    split = run.split()
    if split is not None:
        validation = split["id"][split["part"].isin(["validation", "train+validation"])]
        rows = np.flatnonzero(labelled & table["id"].isin(validation).to_numpy())
        if len(rows):
            return "validation", rows
    if not labelled.any():
        raise DataError("these data have no labels, so there is nothing to score; use giseg predict")
    return "all labelled", np.flatnonzero(labelled)


def panels_of(scan: Scan, data: Data, chosen: set[int]) -> list[Panel]:
    """The chosen slices of a scan for the preview; copies, since a view would keep the whole scan in memory."""
    ids = data.dataset.table["id"]
    return [
        Panel(
            str(ids.iloc[row]),
            data.dataset.image(row),
            scan.prediction[d].copy(),
            None if scan.truth is None else scan.truth[d].copy(),
        )
        for d, row in enumerate(scan.rows)
        if row in chosen
    ]


def write_preview(run: RunDir, panels: list[Panel], classes: Sequence[str], recipe: Recipe, *, heading: str) -> None:
    """``preview.png``."""
    picture = encode_png(draw(panels, classes, demo=recipe.demo, heading=heading))
    write(run.preview, lambda file: file.write(picture))


def write_report(run: RunDir, recipe: Recipe) -> None:
    """``report.html`` from what the folder holds."""
    scores = run.scores()
    if scores is None:
        return
    tables = {file.stem: pd.read_csv(file) for file in sorted(run.evaluation.glob("*.csv"))}
    page = render_page(
        name=recipe.name,
        demo=recipe.demo,
        recipe=run.recipe.read_text(encoding="utf-8"),
        environment=run.environment(),
        metrics=run.metrics(),
        scores=scores,
        tables=tables,
        preview=run.preview.read_bytes() if run.preview.is_file() else None,
        submission=str(run.submission.relative_to(run.path)) if run.submission.is_file() else "",
    )
    write(run.report, lambda file: file.write(page.encode()))


# --- predict --------------------------------------------------------------------------------------------------------


@in_run_folder
def predict(
    run: RunDir, recipe: Recipe, session: Session, *, out: Path | None = None, part: str | None = None
) -> tuple[Path, str, int]:
    """Write a submission with a run's best weights.

    Args:
        out: the file; default ``predictions/submission.csv`` in the run folder.
        part: which slices; default the recipe's ``[predict] part``.

    Returns:
        The file, the part's name and the number of slices in it.
    """
    ready = get_ready(recipe, session, training=False, weights=run.weights())
    name, rows = predicted_rows(run, ready.data, part or recipe.predict.part)
    target = out or run.submission
    panels: list[Panel] = []
    chosen = set(pick_rows(ready.data.dataset.table, rows)) if not run.preview.is_file() else set()

    def encoded(scan: Scan) -> tuple[Scan, list[tuple[str, str, str]]]:
        ids = ready.data.dataset.table["id"]
        return scan, [
            (str(ids.iloc[row]), class_name, rle.encode(plane))
            for row, mask in zip(scan.rows, scan.prediction, strict=True)
            for class_name, plane in zip(ready.data.dataset.classes, split(mask), strict=True)
        ]

    def submission_rows() -> Iterator[tuple[str, str, str]]:
        scans = ready.scans(rows, label="predict", progress=session.progress)
        with closing(ordered(encoded, scans, threads=min(1, ready.device.threads), ahead=1)) as found:
            for scan, lines in found:
                panels.extend(panels_of(scan, ready.data, chosen))
                del scan  # else it would live until the next one is predicted
                yield from lines

    write_submission(target, submission_rows(), order=getattr(ready.data.dataset, "submission_order", None))
    if panels:
        write_preview(run, panels, ready.data.dataset.classes, recipe, heading=f"{recipe.name}: {name}")
    write_report(run, recipe)
    return target, name, len(rows)


def predicted_rows(run: RunDir, data: Data, part: str) -> tuple[str, Rows]:
    """The rows of ``[predict] part``, the validation slices being those of the run's ``split.csv``."""
    if part == "validation" or (part == "auto" and not len(data.unlabelled)):
        name, rows = _scored_rows(run, data)
        return name, rows
    return data.part(part)
