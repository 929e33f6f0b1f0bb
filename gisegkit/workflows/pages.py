"""Pictures and pages of a run: slices with truth and prediction, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gisegkit.data.atomic_files import first_line, write
from gisegkit.engine.decision import DecidedSlice, Scan, slices_of
from gisegkit.errors import RunError
from gisegkit.recipe.sections import Recipe
from gisegkit.report.page import render_page
from gisegkit.report.preview import Panel, draw, encode_png
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import Evaluation, read_scores, read_table
from gisegkit.types import Dataset


def panels_of(scan: Scan, dataset: Dataset, chosen: set[int]) -> list[Panel]:
    """The chosen slices of a scan for the preview; copies, since a view would keep the entire scan in memory."""
    return [panel_of(item, dataset) for item in slices_of(scan) if item.row in chosen]


def panel_of(item: DecidedSlice, dataset: Dataset) -> Panel:
    """A slice for the preview; copies, as of ``panels_of``."""
    truth = None if item.truth is None else item.truth.copy()
    return Panel(str(dataset.table["id"].iloc[item.row]), dataset.image(item.row), item.prediction.copy(), truth)


def write_preview(file: Path, panels: list[Panel], classes: Sequence[str], recipe: Recipe, *, heading: str) -> None:
    """Write the picture of slices with truth and prediction."""
    picture = encode_png(draw(panels, classes, demo=recipe.demo, heading=heading))
    write(file, lambda handle: handle.write(picture))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({first_line(error)}); evaluate the run again") from error


def write_report(run: RunDir, files: Evaluation) -> None:
    """Write the page about one evaluation of a run; nothing is written if that has no scores yet."""
    scores = read_scores(files.folder)
    if scores is None:
        return
    own = files == Evaluation.own(run)
    page = render_page(
        name=scores["name"],
        folder=run.path.resolve().name,
        demo=scores["demo"],
        recipe=_text(files.recipe),
        environment=run.environment(),
        metrics=run.metrics(),
        scores=scores,
        tables={file.stem: read_table(file) for file in sorted(files.folder.glob("*.csv"))},
        preview=files.preview.read_bytes() if files.preview.is_file() else None,
        test=read_scores(files.test.folder),
        submission=str(run.submission.relative_to(run.path)) if own and run.submission.is_file() else "",
    )
    write(files.report, lambda file: file.write(page.encode()))
