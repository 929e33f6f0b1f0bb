"""``giseg data``: what the data of a recipe hold, and everything that is wrong with them, without training."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gisegkit.cli.options import demo_option, read_recipe, recipe_argument, session, set_option
from gisegkit.cli.output import say
from gisegkit.errors import Finding, GisegError
from gisegkit.plugins import Plugins

if TYPE_CHECKING:
    from gisegkit.build.experiment import Experiment

COLORS = {"error": "red", "warning": "yellow", "note": "blue"}


@click.command("data")
@recipe_argument
@set_option
@demo_option
@click.option("--quick", is_flag=True, help="Only the tables; do not read the files.")
@click.option(
    "--fix",
    "fix",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the slices with errors into a new CSV file that [dataset] exclusions can name; no data are changed.",
)
@click.pass_obj
def command(
    plugins: Plugins, recipe: Path, overrides: tuple[str, ...], demo: bool, quick: bool, fix: Path | None
) -> None:
    """Show what a recipe's data hold and everything found wrong; exit 1 where training would be wrong."""
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    from gisegkit.build.dataset import prepared_line
    from gisegkit.build.doctor import look
    from gisegkit.data.findings import FindingsError
    from gisegkit.data.survey import describe
    from gisegkit.errors import RunError, count
    from gisegkit.machine import show_size

    if fix is not None and fix.exists():
        raise RunError(f"--fix {fix}: exists already; give the name of a new file")
    experiment = session(plugins, "cpu").experiment(parsed)
    try:
        found, findings = look(experiment, quick=quick)
    except FindingsError as error:  # no slice is left
        _end(error.findings, f"the slices of {parsed.dataset.name}, of which none can be used", fix)
        return
    dataset = experiment.dataset
    for line in describe(dataset, found):
        say(line)
    _say_split(experiment)
    experiment.look_at_store()
    store = experiment.store
    say(prepared_line(store, experiment.prepared))
    if store is not None and (others := store.others()):
        say(f"  {show_size(others)} more in {store.folder.parent}: of other recipes, or out of date")
    if quick:
        say("files not read (--quick), so only tables and names were looked at")
    _end(findings, f"{count(len(dataset.table), 'slice')} of {parsed.dataset.name}", fix)


def _end(findings: Sequence[Finding], where: str, fix: Path | None) -> None:
    """What was found, the list of slices to leave out, and the verdict in the last line; exit 1 if there are errors."""
    from gisegkit.data.findings import errors_of, verdict

    _say_findings(findings)
    if fix is not None:
        _write(fix, findings)
    say(verdict(findings, where))
    if errors_of(findings):
        raise click.exceptions.Exit(1)


def _say_split(experiment: Experiment) -> None:
    from gisegkit.data.given_split import given_note
    from gisegkit.errors import count

    with contextlib.suppress(GisegError):  # a finding
        train, validation = experiment.split
        by = f"fold {experiment.recipe.split.fold}" if experiment.given is None else given_note(experiment.given)
        say(f"split: {count(len(train), 'slice')} train, {len(validation)} validate ({by})")
        if experiment.resident is not None:
            say(str(experiment.resident))


def _say_findings(findings: Sequence[Finding]) -> None:
    """A line for each kind, worst first."""
    from gisegkit.data.findings import grouped

    for group in grouped(findings):
        click.secho(f"{group.severity}: ", fg=COLORS[group.severity], nl=False)
        say(str(group))


def _write(fix: Path, findings: Sequence[Finding]) -> None:
    from gisegkit.data.left_out import write_exclusions
    from gisegkit.errors import count

    number = write_exclusions(fix, findings)
    say(f"{fix}: {count(number, 'slice')} to leave out; name it in the recipe: [dataset] exclusions = {str(fix)!r}")
