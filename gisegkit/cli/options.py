"""Arguments and options that several commands share, and how they become a recipe and a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gisegkit.cli.output import progress, say
from gisegkit.cli.several import world
from gisegkit.errors import Mistake, RecipeError
from gisegkit.plugins import Plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import Recipe

if TYPE_CHECKING:
    from gisegkit.build.console import Console
    from gisegkit.build.session import Session

F = TypeVar("F", bound=Callable[..., Any])


def _run_folder(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    """Refuse what is not a run folder at once, before torch is imported."""
    from gisegkit.runs.folder import RunDir

    RunDir.open(path)
    return path


recipe_argument = click.argument("recipe", type=click.Path(path_type=Path))
run_argument = click.argument("run", type=click.Path(path_type=Path), callback=_run_folder)
set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one value: train.epochs=3, loss.0.weight=0.7.",
)
device_option = click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
demo_option = click.option(
    "--demo", is_flag=True, help="Try the recipe on phantoms: no data, no download, small and short."
)
out_option = click.option("--out", type=click.Path(path_type=Path), help="The run folder.  [default: runs/NAME]")
resume_option = click.option("--resume", is_flag=True, help="Resume the run in the folder.")
refit_option = click.option(
    "--refit", is_flag=True, help="After several folds, train once more on all labelled slices, into RUN/refit."
)
root_option = click.option("--root", help="Folder of the data, instead of the recipe's dataset.root.")


def training_options(function: F) -> F:
    """The arguments of ``run`` and ``train``."""
    for option in reversed(
        (recipe_argument, set_option, out_option, device_option, demo_option, resume_option, refit_option)
    ):
        function = option(function)
    return function


def read_recipe(path: Path, plugins: Plugins, overrides: tuple[str, ...], *, demo: bool) -> Recipe:
    """The recipe as the command line asks for it; prints each value that ``--demo`` overrides."""
    registries = plugins.registries
    if not demo:
        recipe = load_recipe(path, registries=registries, overrides=overrides)
        for line in recipe.notes:
            say(line)
        return recipe
    from gisegkit.build.demo import load_demo

    recipe, lines = load_demo(path, registries, overrides)
    for line in lines:
        say(line)
    return recipe


def check_refit(recipe: Recipe, *, refit: bool) -> None:
    """Check that there are folds before a refit.

    Raises:
        RecipeError: if not.
    """
    if refit and not recipe.split.several:
        one = recipe.split.fold
        found = f"--refit trains on everything for the epochs that several folds found, and split.fold = {one}"
        raise RecipeError(recipe.source, [Mistake("--refit", found, 'set split.fold = "all"')])


def session(plugins: Plugins, device: str) -> Session:
    """What the verbs need, printing to this terminal."""
    from gisegkit.build.session import Session

    return Session(plugins, device, progress, say, world=world())


def console(plugins: Plugins) -> Console:
    """Where lines and progress go: this terminal; for what does without torch."""
    from gisegkit.build.console import Console

    return Console(plugins, "cpu", progress, say)


def run_folder(recipe: Recipe, out: Path | None, *, resume: bool) -> Path:
    """The folder of a run: the given one, else a free ``runs/NAME``, else, to resume, the newest that exists.

    A folder that another process has just begun is not free. Says which folder it is if there are others.
    """
    if out is not None:
        return out
    from gisegkit.runs.folder import RunDir
    from gisegkit.runs.locks import is_locked

    base = Path("runs") / (f"{recipe.name}-demo" if recipe.demo else recipe.name)
    number, folder, newest = 1, base, base
    while not RunDir.is_free(folder) or is_locked(folder):
        newest = folder
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    if resume:
        if newest != base:
            say(f"resuming {newest}, the newest of {number - 1} runs; --out names another one")
        return newest
    if folder != base:
        say(f"{newest} exists already, so this is a new run: {folder} (--resume continues {newest})")
    return folder
