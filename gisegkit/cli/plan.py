"""``giseg plan``: many runs and what is made of them, in one command."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gisegkit.cli.options import demo_option, device_option
from gisegkit.cli.output import clock, say, table
from gisegkit.errors import count, listed
from gisegkit.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gisegkit.workflows.plan_steps import Work
    from gisegkit.workflows.ranking import Ranking
    from gisegkit.workflows.steps import State

SHOWN = 8
"""Differences of two recipes that a line spells out; the page has all."""


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
    from gisegkit.workflows.plan import open_plan, run_plan
    from gisegkit.workflows.plan_page import rank_plan, search_lines, write_page
    from gisegkit.workflows.steps import FINISHED

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
    ranking = rank_plan(work, ran.states)
    page = write_page(work, ran.states, ranking, ran.importance)
    if isinstance(ranking, str):
        say(f"no ranking: {ranking}")
    elif len(ranking.rows) > 1 or len(ranking.rows[0].runs) > 1:
        print_ranking(ranking)
    for line in search_lines(work, ran.states):
        say(line)
    say(f"ranking: {page}")
    if not ran.complete:
        undone = [name for name, state in ran.states.items() if state.word not in FINISHED]
        say(f"not done: {', '.join(undone)}; run the same command again to try them again")
        return 1
    return 0


def _show(work: Work, states: Mapping[str, State]) -> None:
    """A line a step, and the time that is left."""
    from gisegkit.workflows.time_left import time_left

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


def print_ranking(ranking: Ranking) -> None:
    """The table of settings, what differs from the first and whether that is shown, and the notes."""
    demo = "DEMO on phantoms, not real data: " if ranking.demo else ""
    better = "higher" if ranking.higher else "lower"
    say(f"{demo}{ranking.metric} with its 95 % interval over cases; {better} is better")
    say(f"  ({ranking.convention})")
    rows = []
    for place, row in enumerate(ranking.rows, start=1):
        low, high = row.interval.low, row.interval.high
        interval = None if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        several = len(row.runs) > 1 and not math.isnan(row.spread[0])
        seeds = f"{len(row.runs)}: {row.spread[0]:.4f} to {row.spread[1]:.4f}" if several else str(len(row.runs))
        rows.append([place, row.interval.estimate, interval, seeds, row.cases, row.name])
    table(["", "score", "interval", "seeds", "cases", "setting"], rows)
    for place, row in enumerate(ranking.rows, start=1):
        other = row.comparison
        if row.name == ranking.first:
            continue
        size = "" if other is None or math.isnan(other.difference.estimate) else f", {other.difference.estimate:+.4f}"
        say(f"{place} {row.name}{size}: {row.unlike if other is None else other.verdict}")
        if row.differences:
            say(f"  differs from {ranking.first}: {listed(row.differences, shown=SHOWN)}")
    if len(ranking.rows) > 1:
        say(f"each is compared with {ranking.first}, which the plan names first; the table is sorted by score")
    for note in ranking.notes:
        say(f"note: {note}")
