"""``giseg data``: what the data of a recipe hold, and every defect, without training."""

from __future__ import annotations

from pathlib import Path

import click

from gisegkit.cli.options import demo_option, read_recipe, recipe_argument, session, set_option
from gisegkit.cli.output import progress, say, warn
from gisegkit.errors import DataError
from gisegkit.plugins import Plugins


@click.command("data")
@recipe_argument
@set_option
@demo_option
@click.option("--quick", is_flag=True, help="Only the tables; do not read the files to look for defects.")
@click.pass_obj
def command(plugins: Plugins, recipe: Path, overrides: tuple[str, ...], demo: bool, quick: bool) -> None:
    """Show what a recipe's data hold and every defect found."""
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    from gisegkit.build.dataset import prepared_line, stack_warnings
    from gisegkit.data.spacing import refuse_unmeasured
    from gisegkit.data.survey import describe, survey
    from gisegkit.errors import count
    from gisegkit.machine import show_size

    experiment = session(plugins, "cpu").experiment(parsed)
    dataset = experiment.dataset
    found = None if quick else survey(dataset, normalization=experiment.normalization, progress=progress)
    for line in describe(dataset, found):
        say(line)
    for line in stack_warnings(parsed, dataset):
        say(line)
    try:
        refuse_unmeasured(experiment.metrics, dataset.table, place=parsed.dataset.place)
        train, validation = experiment.split
    except DataError as error:
        warn(f"split: {error}")
    else:
        say(f"split: {count(len(train), 'slice')} train, {len(validation)} validate (fold {parsed.split.chosen[0]})")
        if experiment.resident is not None:
            say(str(experiment.resident))
    experiment.look_at_store()
    store = experiment.store
    say(prepared_line(store, experiment.prepared))
    if store is not None and (others := store.others()):
        say(f"  {show_size(others)} more in {store.folder.parent}: of other recipes, or out of date")
    if found is None:
        say("files not read (--quick), so defects were not searched")
        return
    for line in found.defects:
        warn(line)
    where = f"{count(len(dataset.table), 'slice')} of {parsed.dataset.name}"
    say(f"{count(len(found.defects), 'defect')} found in {where}")
