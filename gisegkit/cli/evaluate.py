"""``giseg evaluate``: scores of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from gisegkit.cli.options import device_option, root_option, run_argument, session, set_option
from gisegkit.cli.output import print_scores, say
from gisegkit.plugins import Plugins


@click.command("evaluate")
@run_argument
@root_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A new folder for it.  [default: RUN/evaluation; RUN/evaluation-... with other settings or data]",
)
@set_option
@device_option
@click.pass_obj
def command(
    plugins: Plugins, run: Path, root: str | None, out: Path | None, overrides: tuple[str, ...], device: str
) -> None:
    """Score a run's best weights on its validation slices.

    With --set or --root the run's own evaluation stays as it is; the new one gets a folder of its own.
    """
    from gisegkit.workflows.evaluate import evaluate

    folder, experiment = session(plugins, device).open_run(run, root=root, overrides=overrides, command="evaluate")
    result = evaluate(folder, experiment, out=out)
    print_scores(result.scores)
    if result.test is not None:
        print_scores(result.test)
    say(f"scores: {result.files.folder}; report: {result.files.report}")
