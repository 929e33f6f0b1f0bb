"""``giseg predict``: predictions of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from gisegkit.cli.options import device_option, root_option, run_argument, session, set_option
from gisegkit.cli.output import say
from gisegkit.errors import count
from gisegkit.plugins import Plugins


@click.command("predict")
@run_argument
@root_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The submission's CSV file; other writers use the folder FILE.files beside it.  [default: RUN/predictions]",
)
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
    part: Literal["auto", "unlabelled", "validation", "all"] | None,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    """Predict slices with a run's best weights: the files of the recipe's writers, and the recipe that was used.

    With --set, --root or --part the run's own predictions stay as they are; the new ones get a folder of their own.
    """
    from gisegkit.workflows.predict import predict

    folder, experiment = session(plugins, device).open_run(run, root=root, overrides=overrides, command="predict")
    result = predict(folder, experiment, out=out, part=part)
    demo = ", demo" if experiment.recipe.demo else ""
    about = f"({count(result.slices, 'slice')}, {result.part}{demo})"
    for name, said in result.written:
        say(f"{name}: {result.file} {about}" if name == "submission" else f"{name}: {said} in {result.folder} {about}")
