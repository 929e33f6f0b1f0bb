"""``--demo``: any recipe, anywhere, on phantoms, from random weights, small and short; never to be taken for more."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gisegkit.build.preflight import needs_exclusive_classes
from gisegkit.engine.monitor import directions, parts_of
from gisegkit.errors import Mistake, RecipeError
from gisegkit.recipe.load import load_recipe, read_document
from gisegkit.recipe.per_class import DEFAULT
from gisegkit.recipe.sections import Recipe, Train
from gisegkit.recipe.text import Document, override, parse_value
from gisegkit.registry.annotations import show
from gisegkit.registry.kinds import Component, Registries

ORIGIN = "--demo"

MODEL: dict[str, Any] = {"weights": "none", "width": 16}
"""What it sets of the network, as far as that has such a parameter."""

EXCLUSIVE = " (a loss of the recipe needs classes that exclude one another)"

SMALL: dict[str, Any] = {
    "dataset.name": "phantom",
    "dataset.cases": 80,
    "dataset.days": 1,
    "dataset.slices": 10,
    "input.size": [64, 64],
    "split.folds": 10,
    "split.fold": 0,
    "train.epochs": 6,
    "train.batch_size": 8,
    "train.micro_batch": "auto",
    "train.max_grad_norm": 1.0,
    "train.validate_every": 3,
    "evaluate.batch_size": 32,
}
"""What a demo run sets. ``recipes/unet_effb1.toml`` then reaches a Dice of 0.75 to 0.76 on held-out cases.

More cases train better than more epochs: 40 cases with 13 epochs, about as many steps, reached 0.64 to 0.66, with or
without an average of the weights, and 120 cases with 4 epochs 0.69. Without the bound on the gradients the result was
left to chance: 0.59 to 0.74 by seed and number of threads.
"""


FOLDS = 3
"""Folds of the demo of a recipe that trains several."""


def load_demo(path: Path | str, registries: Registries, overrides: Sequence[str] = ()) -> tuple[Recipe, list[str]]:
    """A recipe as its demo, and a line for each value that the demo sets or leaves out.

    Raises:
        RecipeError: if the recipe has mistakes, or names other data than phantoms with ``--set``.
        ComponentError: if a metric whose part or class is monitored cannot be built.
    """
    document = read_document(path)
    several = isinstance(document.data.get("dataset"), list)
    settings = demo_settings(document, registries, overrides)
    lines = overridden(document, settings)
    if several:
        lines.insert(0, "demo: one dataset, of phantoms; those with role = extra and test are left out")
    recipe = load_recipe(path, registries=registries, overrides=overrides, preset=settings)
    recipe, more = _monitor_phantoms(recipe, registries)
    recipe, tables = _decide_phantoms(recipe, registries)
    return recipe, [*lines, *recipe.notes, *more, *tables]


def demo_settings(
    document: Document, registries: Registries, overrides: Sequence[str] = ()
) -> list[tuple[str, Any, str]]:
    """(key, value, origin) that turn a recipe into its demo: the phantom, random weights, a small size, few epochs.

    Args:
        document: the recipe.
        registries: where its model and its losses are looked up.
        overrides: the texts given with ``--set``, which may name others.

    Raises:
        RecipeError: if an override names other data than phantoms.
    """
    alone = _alone(document)
    wanted = copy.deepcopy(document)
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals and key.strip():
            override(wanted, key.strip(), parse_value(value.strip()), text)
    _refuse_other_data(wanted)
    dataset, train = (document.data.get(name) for name in ("dataset", "train"))
    bounded = isinstance(train, dict) and train.get("max_grad_norm")
    small = {key: value for key, value in SMALL.items() if key != "train.max_grad_norm" or not bounded}
    if _asks_for_folds(wanted):
        small |= {"split.folds": FOLDS, "split.fold": "all"}
    settings = [*alone, ("demo", True, ORIGIN), *((key, value, ORIGIN) for key, value in small.items())]
    if isinstance(dataset, dict) and dataset.get("name") == SMALL["dataset.name"] and dataset.get("root"):
        settings.append(("dataset.root", "", ORIGIN))
    if isinstance(train, dict) and train.get("init_from"):
        settings.append(("train.init_from", "", ORIGIN))
    if any(component.name == "window" for component in _named(document, registries, "normalization")):
        settings.append(("normalization.name", "maximum", ORIGIN))  # phantoms have no Hounsfield units
    if any(needs_exclusive_classes(component) for component in _named(wanted, registries, "loss")):
        settings.append(("dataset.exclusive", True, ORIGIN))
    for component in _named(wanted, registries, "model"):
        settings += [(f"model.{key}", value, ORIGIN) for key, value in _model_settings(component)]
    return settings + _shifted_losses(document, wanted)


def _asks_for_folds(wanted: Document) -> bool:
    """Whether several folds are to be trained."""
    split = wanted.data.get("split")
    return isinstance(split, dict) and (split.get("fold") == "all" or isinstance(split.get("fold"), list))


def _alone(document: Document) -> list[tuple[str, Any, str]]:
    """Of several datasets, the setting that leaves the one that trains; the document is changed likewise."""
    tables = document.data.get("dataset")
    if not isinstance(tables, list):
        return []
    trained = [dict(table) for table in tables if isinstance(table, dict) and table.get("role", "train") == "train"]
    document.data["dataset"] = trained[0] if trained else {}
    return [("dataset", document.data["dataset"], ORIGIN)]


def _refuse_other_data(wanted: Document) -> None:
    """A demo says of all that it writes that it was made of phantoms; so it must be."""
    dataset = wanted.data.get("dataset")
    for key, own in (("name", SMALL["dataset.name"]), ("root", "")):
        if ("dataset", key) in wanted.overrides and isinstance(dataset, dict) and dataset.get(key) != own:
            found = f"a demo runs on phantoms of its own, and --set dataset.{key} names other data"
            raise RecipeError(wanted.source, [Mistake(ORIGIN, found, "leave one of the two out")])


def _named(document: Document, registries: Registries, kind: str) -> Iterator[Component]:
    """The components of a kind that a document names and that there are."""
    tables = document.data.get(kind)
    for table in tables if isinstance(tables, list) else [tables]:
        name = table.get("name") if isinstance(table, dict) else None
        if isinstance(name, str) and name in registries[kind]:
            yield registries[kind].get(name)


def _model_settings(model: Component) -> Iterator[tuple[str, Any]]:
    """What of MODEL the network has a parameter for that takes it."""
    parameters = model.signature().parameters
    for key, value in MODEL.items():
        if key in parameters:
            try:
                parameters[key].type.convert(value)
            except ValueError:
                continue  # a plugin means something else by it
            yield key, value


def _shifted_losses(document: Document, wanted: Document) -> list[tuple[str, Any, str]]:
    """Losses that begin or end at an epoch do so after the same share of the demo's epochs.

    Those that are set with ``--set`` stay, and ``--set train.epochs`` counts as the demo's epochs.
    """
    losses = wanted.data.get("loss")
    said, set_ = (one.data.get("train") for one in (document, wanted))
    epochs = said.get("epochs", Train().epochs) if isinstance(said, dict) else Train().epochs
    own = ("train", "epochs") in wanted.overrides
    small = set_["epochs"] if own and isinstance(set_, dict) else SMALL["train.epochs"]
    if not all(isinstance(count, int) and count > 0 for count in (epochs, small)) or not isinstance(losses, list):
        return []
    settings = []
    for index, loss in enumerate(losses):
        start, end = (loss.get(f"{key}_epoch") if isinstance(loss, dict) else None for key in ("start", "end"))
        moved = {}
        if isinstance(start, int) and 1 < start <= epochs:  # the epochs in front of it are a share of all
            moved["start_epoch"] = min(round((start - 1) * small / epochs) + 1, small)
        if isinstance(end, int) and 0 < end <= epochs:
            moved["end_epoch"] = max(round(end * small / epochs), moved.get("start_epoch", 1))
        settings += [
            (f"loss.{index}.{key}", value, ORIGIN)
            for key, value in moved.items()
            if ("loss", index, key) not in wanted.overrides
        ]
    return settings


def _monitor_phantoms(recipe: Recipe, registries: Registries) -> tuple[Recipe, list[str]]:
    """The recipe with its metric monitored in place of a class that phantoms lack, and a line that says so."""
    monitor = recipe.monitor
    names = [spec.label for spec in recipe.metric if monitor.startswith(f"{spec.label}/")]
    if not names:
        return recipe, []
    from gisegkit.build.dataset import build_component  # imports numpy, which a demo without this needs not
    from gisegkit.data.phantom.anatomy import CLASSES

    metrics = {spec.label: build_component(spec, registries) for spec in recipe.metric}
    parts = {name: parts_of(name, metric, classes=len(CLASSES)) for name, metric in metrics.items()}
    if monitor in directions(metrics, parts, CLASSES):
        return recipe, []
    name = max(names, key=len)
    line = (
        f"demo: train.monitor = {show(name)} (the recipe says {show(monitor)}, and the phantom's classes are "
        f"{', '.join(CLASSES)})"
    )
    return replace(recipe, train=replace(recipe.train, monitor=name)), [line]


def _decide_phantoms(recipe: Recipe, registries: Registries) -> tuple[Recipe, list[str]]:
    """The recipe with its tables by class for the phantom's classes, and a line for each that was for others."""
    lines: list[str] = []

    def fitted(key: str, value: Any) -> Any:
        if not isinstance(value, Mapping) or not value:
            return value
        from gisegkit.data.phantom.anatomy import CLASSES  # imports numpy, which a demo without tables needs not

        known = {name: number for name, number in value.items() if name in (*CLASSES, DEFAULT)}
        if DEFAULT not in known and not known.keys() >= set(CLASSES):
            known[DEFAULT] = next(iter(value.values()))
        if known != value:
            lines.append(f"demo: {key} = {show(known)} (the recipe says {show(value)}, for other classes)")
        return known

    evaluate = {key: fitted(f"evaluate.{key}", getattr(recipe.evaluate, key)) for key in ("threshold", "presence")}
    steps = []
    for index, spec in enumerate(recipe.postprocess):
        if registries["postprocess"].get(spec.name).owner.distribution == "gisegkit":  # a plugin may mean other tables
            params = {key: fitted(f"postprocess.{index}.{key}", value) for key, value in spec.params.items()}
            spec = replace(spec, params=params)
        steps.append(spec)
    recipe = recipe.with_components(postprocess=tuple(steps)) if lines else recipe
    return replace(recipe, evaluate=replace(recipe.evaluate, **evaluate)), lines


def overridden(document: Document, settings: list[tuple[str, Any, str]]) -> list[str]:
    """One line for each value that the demo sets, with what the recipe says; call it before they are applied."""
    lines = []
    for key, value, _ in settings:
        node: Any = document.data
        for part in key.split("."):
            node = node[int(part)] if isinstance(node, list) else node.get(part) if isinstance(node, dict) else None
        if node != value:
            said = "" if node is None else f" (the recipe says {show(node)})"
            said = EXCLUSIVE if key == "dataset.exclusive" else said
            lines.append(f"demo: {key} = {show(value)}{said}")
    return lines
