"""``giseg show``: a picture of a batch as training sees it."""

from __future__ import annotations

from pathlib import Path

import click

from gisegkit.cli.options import demo_option, read_recipe, recipe_argument, session, set_option
from gisegkit.cli.output import say
from gisegkit.errors import RunError
from gisegkit.plugins import Plugins


@click.command("show")
@recipe_argument
@set_option
@demo_option
@click.option("--out", type=click.Path(path_type=Path), help="The PNG file.  [default: NAME-batch.png]")
@click.option("--epoch", default=1, show_default=True, help="Epoch, counted from 1.")
@click.option("--batch", default=1, show_default=True, help="Batch of the epoch, counted from 1.")
@click.option("--count", type=click.IntRange(1, 16), default=8, show_default=True, help="Most slices to show.")
@click.pass_obj
def command(
    plugins: Plugins,
    recipe: Path,
    overrides: tuple[str, ...],
    demo: bool,
    out: Path | None,
    epoch: int,
    batch: int,
    count: int,
) -> None:
    """Draw a batch as training sees it: before and after augmentation, after batch transforms.

    Of a run folder or an ensemble in place of a RECIPE, say what predicts, how it decides, and where its pictures are.
    """
    if recipe.is_dir():
        if overrides or demo or out or (epoch, batch, count) != (1, 1, 8):
            raise click.UsageError(
                f"{recipe} is a run folder, of which no batch is drawn; options have no effect on it"
            )
        from gisegkit.workflows.described import described

        for line in described(recipe, plugins.registries):
            say(line)
        return
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    target = out or Path(f"{parsed.name}{'-demo' if parsed.demo else ''}-batch.png")
    if target.suffix.lower() != ".png":
        raise RunError(f"--out {target}: the picture is a PNG file; let its name end in .png")
    from gisegkit.workflows.show import show_batch

    seen = show_batch(session(plugins, "cpu").experiment(parsed), target, epoch=epoch, batch=batch, count=count)
    say(f"picture: {target}{' (demo)' if parsed.demo else ''}")
    say(seen.title)
