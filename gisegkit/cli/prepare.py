"""``giseg prepare``: every slice of a recipe decoded once, and kept."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gisegkit.cli.options import console, demo_option, read_recipe, recipe_argument, set_option
from gisegkit.cli.output import clock, progress, say
from gisegkit.plugins import Plugins


@click.command("prepare")
@recipe_argument
@set_option
@demo_option
@click.pass_obj
def command(plugins: Plugins, recipe: Path, overrides: tuple[str, ...], demo: bool) -> None:
    """Decode a recipe's slices once and keep them; training does it by itself.

    What the dataset has found is told afterwards, and errors end the command with 2.
    """
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    from gisegkit.build.data import ExperimentData
    from gisegkit.build.doctor import known_findings, tell, tell_left_out

    start = time.monotonic()
    data = ExperimentData(parsed, plugins.registries, console=console(plugins))
    dataset, store = data.dataset, data.store
    if store is None:
        say(f"nothing to prepare: input.store is off, or the dataset {parsed.dataset.name!r} has no sources")
        return
    done = store.prepare(range(len(dataset.table)), progress=progress)
    say(f"prepared: {done} in {store.folder}")
    say(f"  {store.layout}, {clock(time.monotonic() - start)}")
    tell_left_out(data)
    tell(data, known_findings(data))
