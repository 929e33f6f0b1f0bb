"""``giseg data``: what the data of a recipe hold, and every defect, without training."""

from __future__ import annotations

from pathlib import Path

import click

from gisegkit.cli.options import demo_option, read_recipe, recipe_argument, set_option
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
    from gisegkit.build.dataset import build_dataset, make_store, stack_warnings
    from gisegkit.build.parts import NOTHING, build_data
    from gisegkit.build.ready import prepared_line
    from gisegkit.data.survey import describe, survey
    from gisegkit.engine.device_cache import Resident
    from gisegkit.errors import count
    from gisegkit.machine import show_size

    dataset = build_dataset(parsed, plugins.registries)
    found = None if quick else survey(dataset, progress=progress)
    for line in describe(dataset, found):
        say(line)
    for line in stack_warnings(parsed, dataset):
        say(line)
    try:
        data = build_data(parsed, plugins.registries, dataset=dataset)
    except DataError as error:
        warn(f"split: {error}")
        store = make_store(parsed, dataset)
        prepared = NOTHING if store is None else store.prepare(range(len(dataset.table)), build=False)
    else:
        train = f"{count(len(data.train), 'slice')} train"
        say(f"split: {train}, {len(data.validation)} validate (fold {parsed.split.fold})")
        store, prepared = data.source.reader.store, data.prepared
        if parsed.input.store == "device":
            say(str(Resident(data.source, data.train)))
    say(prepared_line(store, prepared))
    if store is not None and (others := store.others()):
        say(f"  {show_size(others)} more in {store.folder.parent}: of other recipes, or out of date")
    if found is None:
        say("files not read (--quick); no look for defects")
        return
    for line in found.defects:
        warn(line)
    where = f"{count(len(dataset.table), 'slice')} of {parsed.dataset.name}"
    say(f"{count(len(found.defects), 'defect')} found in {where}")
