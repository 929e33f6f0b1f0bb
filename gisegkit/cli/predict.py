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
@click.option(
    "--as-labels",
    "labels",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write the unlabelled slices with their predictions as a data set to train on (pseudo-labels), nothing else.",
)
@click.option(
    "--certain",
    type=float,
    metavar="P",
    help="With --as-labels: pixels of which the network is less certain are ignored.  [default: 0.9]",
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
    labels: Path | None,
    certain: float | None,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    """Predict slices with a run's best weights: the files of the recipe's writers, and the recipe that was used.

    With --set, --root or --part the run's own predictions stay as they are; the new ones get a folder of their own.
    """
    if certain is not None and labels is None:
        raise click.UsageError("--certain is for --as-labels")
    if labels is not None and (out is not None or part is not None):
        raise click.UsageError(
            "--as-labels writes the unlabelled slices into its own folder; leave --out and --part out"
        )
    from gisegkit.workflows.predict import predict
    from gisegkit.workflows.pseudo_labels import pseudo_labels

    folder, experiment = session(plugins, device).open_run(run, root=root, overrides=overrides, command="predict")
    if labels is not None:
        made = pseudo_labels(folder, experiment, labels, certain=0.9 if certain is None else certain)
        inside = ", ".join(f"{name} {share:.2%}" for name, share in made.shares.items())
        ignored = f"{made.ignored:.1%} of the pixels are ignored"
        say(f"{count(made.slices, 'slice')} in {labels}; {ignored}, of the others: {inside}")
        say(f"to train on them as well, write [[dataset]] for [dataset] in the recipe, and add:\n\n{made.table}")
        return
    result = predict(folder, experiment, out=out, part=part)
    demo = ", demo" if experiment.recipe.demo else ""
    about = f"({count(result.slices, 'slice')}, {result.part}{demo})"
    for name, said in result.written:
        say(f"{name}: {result.file} {about}" if name == "submission" else f"{name}: {said} in {result.folder} {about}")
