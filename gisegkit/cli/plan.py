"""``giseg plan``: many runs and what is made of them, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gisegkit.cli.compare import print_comparison
from gisegkit.cli.options import demo_option, device_option
from gisegkit.cli.output import clock, say, table
from gisegkit.errors import GisegError, count
from gisegkit.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gisegkit.workflows.plan_steps import State, Work


@click.command("plan")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--list", "--dry-run", "only_list", is_flag=True, help="Only show what is done and what is missing.")
@demo_option
@click.option("--out", type=click.Path(path_type=Path), help="The folder of the runs.  [default: plans/NAME]")
@click.option("--root", help="Folder of the data of all runs, instead of the recipes' dataset.root.")
@device_option
@click.pass_obj
def command(
    plugins: Plugins, file: Path, only_list: bool, demo: bool, out: Path | None, root: str | None, device: str
) -> int:
    """Run what a plan FILE asks for and is not done yet: runs, then ensemble, tuning and prediction.

    Run it again to continue: finished runs are kept, interrupted ones resume, failed ones are tried again.
    """
    from gisegkit.workflows.plan import evaluated_folders, open_plan, run_plan

    work = open_plan(file, plugins.registries, out=out, root=root, demo=demo, device=device)
    for line in work.plan.notes:
        say(line)
    states: Mapping[str, State] = work.states()
    _show(work, states)
    if only_list:
        return 0
    ran = run_plan(work, say=say)
    if ran.tried:
        _show(work, ran.states)
    folders = evaluated_folders(work, ran.states)
    if len(folders) > 1:
        _compare(plugins, folders)
    if not ran.complete:
        undone = [name for name, state in ran.states.items() if state.word != "done"]
        say(f"not done: {', '.join(undone)}; run the same command again to try them again")
        return 1
    return 0


def _show(work: Work, states: Mapping[str, State]) -> None:
    """A line a step, and the time that is left."""
    from gisegkit.workflows.coordinator import time_left

    demo = " (demo on phantoms)" if work.demo else ""
    say(f"plan {work.plan.name}{demo}: {count(len(work.plan.cells), 'run')} in {work.folder}")
    rows = []
    for step in work.steps:
        state = states[step.name]
        took = None if state.seconds is None else clock(state.seconds)
        rows.append([step.name, state.word, state.score, took, state.detail])
    table(["step", "state", "score", "took", ""], rows)
    left = time_left(work, states)
    if left:
        say(f"about {clock(left)} left for the runs")


def _compare(plugins: Plugins, folders: list[Path]) -> None:
    """The ranking of what is evaluated; that it cannot be made is no failure of the plan."""
    from gisegkit.workflows.compare import compare

    try:
        print_comparison(compare(folders, plugins.registries))
    except GisegError as error:
        say(f"no comparison: {error}")
