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
@set_option
@device_option
@click.pass_obj
def command(plugins: Plugins, run: Path, root: str | None, overrides: tuple[str, ...], device: str) -> None:
    """Score a run's best weights on its validation slices."""
    from gisegkit.results import evaluate, open_run

    current = session(plugins, device)
    folder, recipe = open_run(run, current, root=root, overrides=overrides)
    print_scores(evaluate(folder, recipe, current))
    say(f"scores: {folder.evaluation}; report: {folder.report}")
