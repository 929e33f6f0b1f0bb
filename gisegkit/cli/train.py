"""``giseg train``: the first part of ``giseg run``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gisegkit.cli.options import check_refit, read_recipe, run_folder, session, training_options
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
    refit: bool,
) -> None:
    """Train a recipe; evaluate and predict it later."""
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    check_refit(parsed, refit=refit)
    from gisegkit.workflows.folds import train_folds
    from gisegkit.workflows.train import train

    folder, experiment = run_folder(parsed, out, resume=resume), session(plugins, device).experiment(parsed)
    if parsed.split.several:
        run = train_folds(experiment, folder, resume=resume, refit=refit)
    else:
        run = train(experiment, folder, resume=resume)
    say(f"run folder: {run.path}{' (demo)' if parsed.demo else ''}; next: giseg evaluate {shlex.quote(str(run.path))}")
