"""``giseg run``: train, evaluate and predict."""

from __future__ import annotations

from pathlib import Path

import click

from gisegkit.cli.options import check_refit, read_recipe, run_folder, session, training_options
from gisegkit.cli.output import print_scores, say
from gisegkit.plugins import Plugins


@click.command("run")
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
    """Train, evaluate and predict a recipe."""
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    check_refit(parsed, refit=refit)
    from gisegkit.workflows.folds import run_folds
    from gisegkit.workflows.run import run_recipe

    folder, experiment = run_folder(parsed, out, resume=resume), session(plugins, device).experiment(parsed)
    if parsed.split.several:
        run, evaluated, predicted = run_folds(experiment, folder, resume=resume, refit=refit)
    else:
        run, evaluated, predicted = run_recipe(experiment, folder, resume=resume)
    print_scores(evaluated.scores)
    if evaluated.test is not None:
        print_scores(evaluated.test)
    say(f"run folder: {run.path}{' (demo)' if parsed.demo else ''}")
    say(f"  scores      {evaluated.files.folder}")
    for name, said in predicted.written:
        say(f"  {name:<10}  {predicted.file if name == 'submission' else f'{predicted.folder}: {said}'}")
    say(f"  picture     {evaluated.files.preview}")
    say(f"  report      {evaluated.files.report}")
