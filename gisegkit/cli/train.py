"""``giseg train``: the first part of ``giseg run``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gisegkit.cli.options import read_recipe, run_folder, session, training_options
from gisegkit.cli.output import say
from gisegkit.plugins import Plugins


@click.command("train")
@training_options
@click.pass_obj
def command(
    plugins: Plugins,
    recipe: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    device: str,
    demo: bool,
    resume: bool,
) -> None:
    """Train a recipe; evaluate and predict it later."""
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    from gisegkit.workflows.train import train

    run = train(session(plugins, device).experiment(parsed), run_folder(parsed, out, resume=resume), resume=resume)
    say(f"run folder: {run.path}{' (demo)' if parsed.demo else ''}; next: giseg evaluate {shlex.quote(str(run.path))}")
