"""``giseg init``: a recipe for a folder of images and masks."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gisegkit.cli.options import device_option, session
from gisegkit.cli.output import say
from gisegkit.errors import count
from gisegkit.plugins import Plugins


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="recipe.toml", show_default=True, help="The recipe.")
@click.option("--force", is_flag=True, help="Replace the recipe if it is there.")
@device_option
@click.pass_obj
def command(plugins: Plugins, folder: Path, out: Path, force: bool, device: str) -> None:
    """Look at a folder of images and masks, and write a recipe for it."""
    from gisegkit.workflows.init import init

    drafted = init(folder, out, console=session(plugins, device), force=force)
    facts, inputs = drafted.facts, drafted.recipe.input
    say(f"{folder}: {count(facts.labelled, 'slice')} in {count(facts.cases, 'case')}, {facts.dtype}")
    for name, share in facts.shares.items():
        say(f"  {name}: {share:.2%} of the pixels, in {facts.present[name]:.0%} of the slices")
    height, width = inputs.size
    say(f"recipe: {out} ({inputs.mode}s of {height} x {width}, {drafted.recipe.normalization.name})")
    for line in drafted.asks:
        say(f"please check: {line}")
    say(f"next: {shlex.join(['giseg', 'data', str(out)])}; {shlex.join(['giseg', 'run', str(out)])}")
