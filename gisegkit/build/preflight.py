"""What a recipe finds in its data before anything is built: are they there, what trains, does it fit. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gisegkit.engine.monitor import direction_of_monitor
from gisegkit.errors import ComponentError
from gisegkit.recipe.sections import Input, Recipe, Train
from gisegkit.registry.kinds import Component, Registries

if TYPE_CHECKING:
    from gisegkit.build.data import ExperimentData
    from gisegkit.types import Dataset


@dataclass(frozen=True)
class Found:
    """What the data of a recipe hold.

    Attributes:
        train, validation, unlabelled: numbers of slices.
        steps: optimizer steps of an epoch.
        warnings: lines to be told.
        given: what the data say of the split themselves; empty where folds are drawn.
    """

    train: int
    validation: int
    unlabelled: int
    steps: int
    warnings: tuple[str, ...]
    given: str = ""


def idle_settings(recipe: Recipe) -> Iterator[str]:
    """Lines about settings that another setting leaves without effect."""
    inputs, train = recipe.input, recipe.train
    crop, own = inputs.mode == "crop", Input()
    for key in ("resize",) if crop else ("scale", "crops", "around_class", "overlap"):
        if getattr(inputs, key) != getattr(own, key):
            yield f'input.{key} = {getattr(inputs, key)} has no effect, because input.mode = "{inputs.mode}"'
    for key in ("stride", "edge") if inputs.slices == 1 else ():
        if getattr(inputs, key) != getattr(own, key):
            yield f"input.{key} = {getattr(inputs, key)} has no effect, because input.slices = 1"
    if train.memory != "auto" and train.micro_batch != "auto" and inputs.store != "device":
        yield f"train.memory = {train.memory} has no effect, because train.micro_batch = {train.micro_batch}"
    for key, average in (("ema_decay", "ema"), ("swa_start", "swa"), ("swa_batches", "swa")):
        value = getattr(train, key)
        if train.average != average and value != getattr(Train(), key):
            yield f'train.{key} = {value} has no effect, because train.average = "{train.average}", not "{average}"'


def missing_root(recipe: Recipe) -> str:
    """The folder that the recipe says its data are in, where it is not there; else an empty text."""
    roots = [spec.params.get("root") for spec in recipe.tables["dataset"]]
    missing = (root for root in roots if isinstance(root, str) and root and not Path(root).expanduser().exists())
    return next(missing, "")


def is_made_on_demand(recipe: Recipe, registries: Registries) -> bool:
    """Whether the recipe's data come from no folder: those of gisegkit are then made when they are first used."""
    owner = registries["dataset"].get(recipe.dataset.name).owner
    return not recipe.dataset.params.get("root") and owner.distribution == "gisegkit"


def look(data: ExperimentData) -> Found:
    """List and split the data, and see whether the recipe's metrics fit them.

    Raises:
        DataError: if there are no data, they cannot be split as the recipe says, a metric in mm lacks the spacing, or
            a threshold is for a class that there is not.
        RecipeError: if the recipe monitors a score that there will not be.
        ComponentError: if a post-processing step cannot be used, or a loss for exclusive classes meets classes that may
            overlap.
    """
    from gisegkit.build.dataset import stack_warnings
    from gisegkit.build.doctor import known_findings
    from gisegkit.data.findings import refuse_errors, warning_lines
    from gisegkit.data.given_split import given_note
    from gisegkit.data.spacing import refuse_unmeasured

    recipe, dataset = data.recipe, data.dataset
    refuse_unmeasured(data.metrics, dataset.table, place=recipe.dataset.place)
    data.check_decision()
    direction_of_monitor(recipe, data.metrics, dataset.classes)
    refuse_overlaps(recipe, data.registries, dataset)
    known = known_findings(data)
    refuse_errors(known)
    train, validation = data.split
    crops = recipe.input.crops if recipe.input.mode == "crop" else 1
    steps = steps_of(len(train) * crops, recipe.train.batch_size)
    warnings = (*warning_lines(known), *stack_warnings(recipe, dataset), *idle_settings(recipe))
    given = "" if data.given is None else given_note(data.given)
    return Found(len(train), len(validation), len(data.unlabelled), steps, warnings, given)


def check_monitor_alone(data: ExperimentData) -> None:
    """See without the data whether there will be the score that the recipe monitors, as far as the recipe tells.

    Parts of metrics are known without data; classes are where the parameters of a dataset of gisegkit name them.

    Raises:
        RecipeError: if there will be no such score.
    """
    recipe = data.recipe
    if recipe.monitor in {spec.label for spec in recipe.metric}:
        return
    direction_of_monitor(recipe, data.metrics, named_classes(recipe, data.registries) or None)


def named_classes(recipe: Recipe, registries: Registries) -> list[str]:
    """The classes that the parameters of a dataset of gisegkit name; empty if only the data tell."""
    params = recipe.dataset.params
    own = registries["dataset"].get(recipe.dataset.name).owner.distribution == "gisegkit"
    return list(params.get("classes") or params.get("labels") or ()) if own else []


def refuse_overlaps(recipe: Recipe, registries: Registries, dataset: Dataset) -> None:
    """Check that no loss for exclusive classes meets classes that may overlap.

    Raises:
        ComponentError: if one does; names place and reason.
    """
    for spec in recipe.loss:
        if not dataset.exclusive and needs_exclusive_classes(registries["loss"].get(spec.name)):
            raise ComponentError(
                f"{spec.place}: loss {spec.name!r} gives each pixel one class at most, and the classes of dataset "
                f"{recipe.dataset.name!r} ({', '.join(dataset.classes)}) may overlap; use bce, which judges each class "
                "by itself"
            )


def needs_exclusive_classes(loss: Component) -> bool:
    """Whether a loss is refused on classes that may overlap; one that cannot be read is refused when it is built."""
    try:
        file = loss.signature().file
        if loss.owner.distribution == "gisegkit" and "exclusive_only" not in Path(file).read_text(encoding="utf-8"):
            return False  # importing it would import torch
        return bool(getattr(loss.load(), "exclusive_only", False))
    except (ComponentError, OSError):
        return False


def steps_of(slices: int, batch_size: int) -> int:
    """Optimizer steps of an epoch; a last batch of one slice is left out if there are others."""
    full, rest = divmod(slices, batch_size)
    return full + (rest > 1 or (rest == 1 and full == 0))
