"""``giseg check``: every mistake of a recipe, or the filled recipe in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from gisegkit.cli.options import demo_option, device_option, read_recipe, recipe_argument, session, set_option
from gisegkit.cli.output import say
from gisegkit.plugins import Plugins
from gisegkit.recipe import ComponentSpec, Recipe
from gisegkit.sizes import parse_size
from gisegkit.values import show


@click.command("check")
@recipe_argument
@set_option
@demo_option
@click.option("--build", is_flag=True, help="Also build the parts and push one tiny batch through them.")
@click.option("--memory", is_flag=True, help="Also predict the memory of a training step, and plan its micro-batches.")
@click.option(
    "--budget", help="Memory to plan for, 16GiB say: of a GPU, unless --device cpu.  [default: this machine's]"
)
@device_option
@click.pass_obj
def command(
    plugins: Plugins,
    recipe: Path,
    overrides: tuple[str, ...],
    demo: bool,
    build: bool,
    memory: bool,
    budget: str | None,
    device: str,
) -> None:
    """Check a recipe: print every mistake, or what it will do."""
    size = _budget(budget)
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    if device != "auto" and size is None:  # auto is always there; a budget is for a device that need not be here
        from gisegkit.engine.device import pick_device

        pick_device(device, parsed.train.precision)
    if parsed.input.store == "device":
        from gisegkit.planning import verify_store

        verify_store(parsed, plugins.registries)
    for line in in_words(parsed, plugins):
        say(line)
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            say(line)
        said.add(line)

    if build:
        from gisegkit.run import rehearse

        for line in rehearse(parsed, replace(session(plugins, device), say=say_once)):
            say(line)
    if memory or size is not None:
        from gisegkit.planning import Named, memory_lines

        for line in memory_lines(parsed, plugins.registries, Named(size, device)):
            say_once(line)
    say(f"{recipe}: no mistakes")


def _budget(text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no size; write {error}", param_hint="--budget") from None


def in_words(recipe: Recipe, plugins: Plugins) -> list[str]:
    """The filled recipe as a person would tell it."""
    train, inputs, split = recipe.train, recipe.input, recipe.split
    effective = f"{train.batch_size} slices a step"
    if train.micro_batch == "auto":
        free = "in as few passes as fit the free memory of a GPU, or in one on a CPU"
        effective += f" {free}" if train.memory == "auto" else f" in as few passes as fit {train.memory}"
    else:
        passes = -(-train.batch_size // (train.micro_batch or train.batch_size))
        effective += f" in {passes} passes of up to {train.micro_batch}" if passes > 1 else " in one pass"
    height, width = inputs.size
    stack = (
        f"{inputs.slices} neighbouring slices, stride {inputs.stride}, {inputs.edge}"
        if inputs.slices > 1
        else "one slice"
    )
    rest = f"{split.folds} folds by {split.group}, fold {split.fold} validates"
    lines = [
        f"{recipe.name}, seed {recipe.seed}{', DEMO: phantoms, not real data' if recipe.demo else ''}",
        *(_component(spec, plugins) for spec in recipe.components()),
        f"input: {stack}, {inputs.resize} to {height} x {width} ({inputs.interpolation}), scaled by {inputs.normalize}",
        f"split: {rest if split.folds > 1 else 'everything trains and validates'}; {split.subset} slices train",
        f"train: {train.epochs} epochs, effective batch {effective}, precision {train.precision}",
        f"steps an epoch: ceil(training slices / {train.batch_size}); giseg data {recipe.source} counts the slices",
        *([f"starts from the best weights of the run {train.init_from}"] if train.init_from else []),
        f"best epoch by {recipe.monitor}, validated every {train.validate_every} epochs at native size on whole scans",
        f"masks where the probability is at least {recipe.evaluate.threshold:g}",
    ]
    return lines


def _component(spec: ComponentSpec, plugins: Plugins) -> str:
    owner = plugins.registries[spec.kind].get(spec.name).owner
    weight = f"{spec.weight:g} x " if spec.kind == "loss" else ""
    params = ", ".join(f"{key} = {show(value)}" for key, value in spec.params.items())
    epochs = ""
    if (spec.start_epoch, spec.end_epoch) != (1, 0):
        epochs = f", from epoch {spec.start_epoch} to {spec.end_epoch or 'the last'}"
    return f"{spec.kind}: {weight}{spec.name}{' (' + params + ')' if params else ''}{epochs}  [{owner}]"
