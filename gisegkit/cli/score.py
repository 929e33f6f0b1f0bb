"""``giseg score``: any submission against the truth."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gisegkit.cli.output import print_scores, progress, say, table, warn
from gisegkit.components.metrics import PREFERRED
from gisegkit.errors import count
from gisegkit.plugins import Plugins


@click.command("score")
@click.argument("submission", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option("--metric", "chosen", metavar="NAME", multiple=True, default=PREFERRED, help="One of several metrics.")
@click.option(
    "--spacing",
    type=(click.FloatRange(min=0, min_open=True),) * 3,
    metavar="Z Y X",
    help="mm from one slice, row and column to the next, for metrics in mm.  [default: as the scans beside TRUTH say]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    plugins: Plugins,
    submission: Path,
    truth: Path,
    chosen: tuple[str, ...],
    spacing: tuple[float, float, float] | None,
    as_json: bool,
) -> None:
    """Score SUBMISSION (id,class,predicted) against TRUTH (a train.csv), by class and scan."""
    from gisegkit.types import SPACING
    from gisegkit.workflows.score import score_submission

    metrics = {name: plugins.registries["metric"].get(name).load()() for name in chosen}
    mm = None if spacing is None else dict(zip(SPACING, spacing, strict=True))
    result = score_submission(submission, truth, metrics=metrics, spacing=mm, progress=progress)
    if as_json:
        say(json.dumps(result.as_dict(), indent=2))
        return
    content = {
        "scores": result.board.scores(),
        "conventions": result.board.conventions,
        "higher_is_better": result.board.directions,
        "slices": result.slices,
        "scans": result.scans,
        "part": str(submission),
    }
    print_scores(content)
    for name in ("by_class", "by_scan"):
        frame = result.board.tables()[name]
        say(name.replace("_", " "))
        table([str(column) for column in frame.columns], frame.itertuples(index=False))
    for line in result.doubts:
        warn(line)
    if result.scans_not_scored:
        say(f"not scored: {count(result.scans_not_scored, 'scan')} of {truth} of which the submission has no row")
    say(f"{submission}: valid, scored against {truth}; nothing was written")
