"""``giseg tune``: a better decision for a finished run, if there is one."""

from __future__ import annotations

import math
from pathlib import Path

import click

from gisegkit.cli.options import device_option, root_option, run_argument, session, set_option
from gisegkit.cli.output import cell, say
from gisegkit.errors import count
from gisegkit.plugins import Plugins


@click.command("tune")
@run_argument
@root_option
@click.option("--metric", help="The score to search for.  [default: the one that the recipe monitors]")
@click.option(
    "--only",
    multiple=True,
    metavar="NUMBER",
    help="Search only this, such as threshold, presence or min_area.pixels; may be given several times.",
)
@click.option(
    "--apply/--dry-run",
    "apply",
    default=None,
    help="Write decision.json whatever the gain, or never.  [default: if the gain is shown]",
)
@set_option
@device_option
@click.pass_obj
def command(
    plugins: Plugins,
    run: Path,
    root: str | None,
    metric: str | None,
    only: tuple[str, ...],
    apply: bool | None,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    """Search thresholds and post-processing on slices that the networks of RUN have not seen.

    RUN is a run, a run of several folds, or an ensemble. The gain is measured on cases that had no part in the choice.
    """
    from gisegkit.workflows.tune import NAME, tune

    folder, experiment = session(plugins, device).open_run(run, root=root, overrides=overrides, command="evaluate")
    result = tune(folder, experiment, metric=metric, only=only, apply=apply)
    found = result.found
    demo = "DEMO on phantoms, not real data: " if experiment.recipe.demo else ""
    words = "higher is better" if found.higher else "lower is better"
    say(f"{demo}{result.metric} ({words}) of {count(result.slices, 'slice')}, {count(result.cases, 'case')}")
    low, high = found.gain.low, found.gain.high
    interval = "no interval" if math.isnan(low) else f"95 % interval {low:+.4f} to {high:+.4f}"
    say(f"  as it is                                    {cell(result.before)}")
    say(f"  each fold decided as the others say         {cell(result.after)}  {found.gain.estimate:+.4f} ({interval})")
    say(f"  decided as all say, on the same cases       {found.optimistic:+.4f} (too good: chosen on these cases)")
    for line in result.changes:
        say(f"  {line}")
    written = f"{folder.decision} is written" if result.applied else f"{folder.decision} stays as it is"
    say(f"{written}: {result.why}; {folder.path / NAME} has every number")
