"""``giseg check``: every mistake of a recipe, or the filled recipe in words."""

from __future__ import annotations

import functools
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gisegkit.build.preflight import Found, check_monitor_alone, is_made_on_demand, look, missing_root
from gisegkit.cli.options import console, demo_option, device_option, read_recipe, recipe_argument, session, set_option
from gisegkit.cli.output import say
from gisegkit.errors import DataError, RunError, count
from gisegkit.machine import parse_size
from gisegkit.plugins import Plugins
from gisegkit.recipe.sections import ComponentSpec, Recipe
from gisegkit.registry.annotations import show

if TYPE_CHECKING:
    from gisegkit.build.data import ExperimentData

WIDTH = 100
"""Columns that a line of words takes at most, where it can be broken."""


@click.command("check")
@recipe_argument
@set_option
@demo_option
@click.option("--no-data", is_flag=True, help="Check the recipe alone, without its data.")
@click.option("--build", is_flag=True, help="Also look at the slices, build the parts and push a tiny batch through.")
@click.option("--memory", is_flag=True, help="Also predict the memory of a training step, and plan its micro-batches.")
@click.option(
    "--budget", help="Memory to plan for, e.g. 16GiB: of a GPU, unless --device cpu.  [default: this machine's]"
)
@device_option
@click.pass_obj
def command(
    plugins: Plugins,
    recipe: Path,
    overrides: tuple[str, ...],
    demo: bool,
    no_data: bool,
    build: bool,
    memory: bool,
    budget: str | None,
    device: str,
) -> None:
    """Check a recipe and its data: print every mistake, or what it will do."""
    if build and no_data:
        raise click.UsageError("--build needs the data; leave out --no-data")
    size = _budget(budget)
    plans = memory or size is not None
    parsed = read_recipe(recipe, plugins, overrides, demo=demo)
    if device != "auto" and size is None:  # auto is always there; a budget is for a device that need not be here
        from gisegkit.engine.device import pick_device

        pick_device(device, parsed.train.precision)
    _check_start(parsed)
    missing = missing_root(parsed)
    looks = not (no_data or missing or is_made_on_demand(parsed, plugins.registries))
    whole = build or plans or parsed.input.store == "device"
    plain = parsed.monitor in {spec.label for spec in parsed.metric}  # else its parts must be asked of the metric
    data = _data(parsed, plugins, device, whole=whole) if whole or looks or not plain else None
    found = look(data) if looks and data is not None else None
    for line in in_words(parsed, plugins, found, command=_data_command(recipe, overrides, demo=demo)):
        say(line)
    if missing and not no_data and (build or not plans):
        raise DataError(f"{recipe}: the recipe is right, but {_not_there(missing)}")
    if (build or plans) and data is not None:
        _build_and_plan(data, build=build, spec=(size, device) if plans else None)
    if missing and not no_data:
        say(f"{recipe}: the recipe is right; {_not_there(missing)}")
    else:
        say(f"{recipe}: no mistakes{' in the recipe; its data were not looked at' if no_data else ''}")


def _check_start(recipe: Recipe) -> None:
    """That there is a run to start from, if the recipe names one; whether its weights fit is seen by ``--build``."""
    if place := recipe.train.init_from:
        from gisegkit.runs.folder import RunDir

        try:
            RunDir.open(Path(place))
        except RunError as error:
            raise RunError(f"{recipe.source}: train.init_from: {error}") from error


def _data(recipe: Recipe, plugins: Plugins, device: str, *, whole: bool) -> ExperimentData:
    """The recipe's data, checked as far as the recipe alone tells; the whole experiment, with torch, if needed."""
    say_once = functools.cache(say)  # which prints no line again
    if not whole:
        from gisegkit.build.data import ExperimentData

        data = ExperimentData(recipe, plugins.registries, console=replace(console(plugins), say=say_once))
    else:
        from gisegkit.build.training import verify_store

        data = experiment = replace(session(plugins, device), say=say_once).experiment(recipe)
        verify_store(experiment)
    check_monitor_alone(data)
    return data


def _build_and_plan(data: ExperimentData, *, build: bool, spec: tuple[int | None, str] | None) -> None:
    """What ``--build`` and ``--memory`` print."""
    from gisegkit.build.experiment import Experiment
    from gisegkit.workflows.check import smoke_test
    from gisegkit.workflows.memory import DeviceSpec, memory_lines

    assert isinstance(data, Experiment)
    if build:
        for line in smoke_test(data):
            say(line)
    if spec is not None:
        for line in memory_lines(data, DeviceSpec(*spec)):
            data.console.say(line)


def _not_there(root: str) -> str:
    return (
        f"its data are not there: dataset.root = {show(root)} does not exist. Name the folder with "
        "--set dataset.root=FOLDER, try the recipe without data with --demo, or check it alone with --no-data"
    )


def _data_command(recipe: Path, overrides: tuple[str, ...], *, demo: bool) -> str:
    """The command that looks at the same data."""
    sets = [part for text in overrides for part in ("--set", text)]
    return shlex.join(["giseg", "data", str(recipe), *sets, *(["--demo"] if demo else [])])


def _budget(text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no size; write {error}", param_hint="--budget") from None


def in_words(recipe: Recipe, plugins: Plugins, found: Found | None = None, *, command: str = "") -> list[str]:
    """The filled recipe as a person would tell it.

    Args:
        found: what its data hold; None if they were not looked at.
        command: counts the slices where ``found`` does not.
    """
    train, inputs, split = recipe.train, recipe.input, recipe.split
    effective = f"{train.batch_size} slices per step"
    if train.micro_batch == "auto":
        free = "in as few passes as fit a GPU, in one on a CPU"
        effective += f" {free}" if train.memory == "auto" else f" in as few passes as fit {train.memory}"
    else:
        passes = -(-train.batch_size // (train.micro_batch or train.batch_size))
        effective += f" in {passes} passes of up to {train.micro_batch}" if passes > 1 else " in one pass"
    stack = (
        f"{inputs.slices} neighboring slices, stride {inputs.stride}, {inputs.edge}"
        if inputs.slices > 1
        else "one slice"
    )
    every = "epoch" if train.validate_every == 1 else f"{train.validate_every} epochs"
    chosen = ", ".join(map(str, split.chosen))
    validates = f"folds {chosen} validate, each in a run of its own" if split.several else f"fold {chosen} validates"
    drawn = f"{split.folds} folds by {split.group}, {validates}"
    drawn = drawn if split.folds > 1 else "everything trains and validates"
    rest = (found.given if found else "") or drawn
    lines = [
        f"{recipe.name}, seed {recipe.seed}{', DEMO: phantoms, not real data' if recipe.demo else ''}",
        *(line for spec in recipe.components() for line in _component(spec, plugins)),
        f"input: {stack}, {_sized(recipe)} ({inputs.interpolation})",
        f"split: {rest}; {split.subset} slices train",
        f"train: {count(train.epochs, 'epoch')}, effective batch {effective}, precision {train.precision}",
        *_steps(recipe, found, command),
        *([f"starts from the best weights of the run {train.init_from}"] if train.init_from else []),
        f"best epoch by {recipe.monitor}, validated every {every} at native size on whole scans",
        f"masks where the probability is at least {show(recipe.evaluate.threshold)}{_presence(recipe)}",
        *([f"evaluated and predicted as the mean with {', '.join(recipe.predict.tta)}"] if recipe.predict.tta else []),
    ]
    return lines


def _sized(recipe: Recipe) -> str:
    """How slices come to the network's size."""
    inputs = recipe.input
    size = f"{inputs.size[0]} x {inputs.size[1]}"
    if inputs.mode == "slice":
        return f"{inputs.resize} to {size}"
    scale = "native resolution" if inputs.scale == 1 else f"{inputs.scale:g} of the native resolution"
    return f"{count(inputs.crops, 'crop')} of {size} from each slice at {scale}"


def _presence(recipe: Recipe) -> str:
    presence = recipe.evaluate.presence
    return f", in slices where its maximum is at least {show(presence)}" if presence else ""


def _steps(recipe: Recipe, found: Found | None, command: str) -> list[str]:
    if found is None:
        return [
            f"steps per epoch: training slices / {recipe.train.batch_size}; the slices are counted by",
            f"    {command}",
        ]
    others = f", {found.unlabelled} are not labelled" if found.unlabelled else ""
    return [
        f"data: {count(found.train, 'slice')} train, {found.validation} validate{others}; "
        f"{count(found.steps, 'step')} per epoch, {found.steps * recipe.train.epochs} in all",
        *found.warnings,
    ]


def _component(spec: ComponentSpec, plugins: Plugins) -> list[str]:
    """A component with its parameters, broken between them."""
    owner = plugins.registries[spec.kind].get(spec.name).owner
    weight = f"{spec.weight:g} x " if spec.kind == "loss" else ""
    epochs = f" as {spec.label}" if spec.kind == "metric" and spec.label != spec.name else ""
    if spec.kind == "loss" and (spec.start_epoch, spec.end_epoch) != (1, 0):
        epochs = f", from epoch {spec.start_epoch} to {spec.end_epoch or 'the last'}"
    words = [f"{key} = {show(value)}" for key, value in spec.params.items()]
    kind = spec.kind if spec.kind != "dataset" or spec.of_kind("role") == "train" else f"{spec.of_kind('role')} dataset"
    words = [f"{kind}: {weight}{spec.name}{epochs}" + (f" ({words[0]}" if words else ""), *words[1:]]
    words[-1] += f"{')' if spec.params else ''}  [{owner}]"
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 > WIDTH:
            lines[-1] += ","
            lines.append(f"    {word}")
        else:
            lines[-1] += f", {word}"
    return lines
