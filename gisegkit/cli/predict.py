"""``giseg predict``: a submission from a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from gisegkit.cli.options import device_option, root_option, run_argument, session, set_option
from gisegkit.cli.output import say
from gisegkit.plugins import Plugins


@click.command("predict")
@run_argument
@root_option
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: RUN/predictions/submission.csv]")
@click.option(
    "--part",
    type=click.Choice(["auto", "unlabelled", "validation", "all"]),
    help="Which slices; auto: the unlabelled ones if there are any, else the validation fold.  [default: the recipe's]",
)
@set_option
@device_option
@click.pass_obj
def command(
    plugins: Plugins,
    run: Path,
    root: str | None,
    out: Path | None,
    part: str | None,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    """Predict slices with a run's best weights and write a submission."""
    from gisegkit.results import open_run, predict

    current = session(plugins, device)
    folder, recipe = open_run(run, current, root=root, overrides=overrides)
    file, name, count = predict(folder, recipe, current, out=out, part=part)
    say(f"submission: {file} ({count} slices, {name}{', demo' if recipe.demo else ''})")
