"""What the search of a plan looks for, read from the plan file and checked against the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gisegkit.build.dataset import build_component
from gisegkit.build.demo import load_demo
from gisegkit.errors import Mistake, RecipeError, did_you_mean
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.plan import Cell, Plan
from gisegkit.recipe.plan_keys import replaced, twice
from gisegkit.recipe.sections import ComponentSpec, Recipe
from gisegkit.recipe.space import between, ends_of, moves_scores, space_of
from gisegkit.recipe.text import Document, value_text
from gisegkit.registry.kinds import Registries
from gisegkit.runs.trials_record import read_aim, read_trials
from gisegkit.types import Axis
from gisegkit.workflows.steps import Goal


def goal_of(plan: Plan, document: Document, registries: Registries, *, demo: bool) -> tuple[Goal | None, list[Mistake]]:
    """What the search of a plan looks for, and every mistake in it; each axis is checked against the recipe.

    None without a search, or if the mistakes leave nothing to search.
    """
    spec, base = plan.parts.get("search"), plan.searched
    if spec is None or base is None:
        return None, []
    table = document.data["search"].get("space", {})
    if not isinstance(table, dict):
        return None, []  # which is told with the other keys of the table
    axes, places, mistakes = space_of(document, table)
    varied = [text.partition("=")[0] for text in base.sets]
    for key, later in replaced([*dict.fromkeys(varied), *axes]):
        if later in axes and key != later:
            found = f"{later} replaces {key}, which is given as well"
            mistakes.append(Mistake(places[later], found, "leave one of the two out"))
    for key, place in places.items():
        if why := moves_scores(key):
            remedy = "leave it out of [search.space]; vary in a [[run]] may have it"
            mistakes.append(Mistake(place, f"{key} is searched: {why}", remedy))
    for key in axes.keys() & set(varied):
        mistakes.append(Mistake(places[key], f"{key} is searched and set", "keep one of the two"))
    for key in twice(table, tables=True):
        mistakes.append(Mistake(document.place(("search", "space")), f"{key} is there twice", "keep one of the two"))
    try:
        recipe = load_cell(base, registries, demo=demo)
    except RecipeError:
        return None, mistakes  # the recipe's own mistakes are told by whoever checks the cells
    for key, axis in axes.items():
        mistakes += _refused(base, key, axis, places[key], registries, demo=demo)
    metric = spec.common.get("metric") or recipe.monitor
    scored = {one.label: one for one in recipe.metric}
    label, _, part = metric.partition("/")
    if label not in scored:
        remedy = " ".join(filter(None, [did_you_mean(label, scored), f"Valid: {', '.join(scored)}."]))
        return None, [*mistakes, Mistake(document.place(("search", "metric")), f"{metric!r} is no metric", remedy)]
    if part:
        metric, wrong = _part(base, metric, document, registries, demo=demo)
        mistakes += wrong
    trials = spec.common.get("trials")
    maximize = _maximize(spec, scored[label], part, registries)
    epochs = max([recipe.train.epochs, *(int(end) for end in _ends(axes, "train.epochs"))])
    folds = len(recipe.split.chosen) if recipe.split.several else 1
    return Goal(axes, metric, maximize, epochs, trials, base.run, folds), mistakes


def _part(
    base: Cell, metric: str, document: Document, registries: Registries, *, demo: bool
) -> tuple[str, list[Mistake]]:
    """A class or part of a metric as it will be scored: in a demo the metric, if phantoms have no such class."""
    from gisegkit.build.data import ExperimentData
    from gisegkit.build.preflight import check_monitor_alone

    try:
        recipe = load_cell(
            replace(base, sets=(*base.sets, f"train.monitor={value_text(metric)}")), registries, demo=demo
        )
        check_monitor_alone(ExperimentData(recipe, registries))
    except RecipeError as error:
        place = document.place(("search", "metric"))
        return metric, [Mistake(place, f"{metric!r} is no score of this recipe", error.mistakes[0].remedy)]
    return recipe.monitor, []


def _ends(axes: Mapping[str, Axis], key: str) -> tuple[Any, ...]:
    return ends_of(axes[key]) if key in axes else ()


def _maximize(spec: ComponentSpec, metric: ComponentSpec, part: str, registries: Registries) -> bool:
    direction = spec.of_kind("direction")
    if direction != "auto":
        return bool(direction == "maximize")
    made = build_component(metric, registries)
    return bool(getattr(made, "part_directions", {}).get(part, made.higher_is_better))


def _refused(base: Cell, key: str, axis: Axis, place: str, registries: Registries, *, demo: bool) -> Sequence[Mistake]:
    """What the recipe says against the ends of an axis, or its choices."""
    found = [mistake for value in ends_of(axis) for mistake in _mistakes(base, key, value, registries, demo=demo)]
    remedy = f"Write {{integer = [{axis.low:.0f}, {axis.high:.0f}]}} if whole numbers are meant."
    if not found:
        inside = [mistake for value in between(axis) for mistake in _mistakes(base, key, value, registries, demo=demo)]
        found = [Mistake(place, mistake.found, f"{mistake.remedy} {remedy}") for mistake in inside]
    return [Mistake(place, mistake.found, mistake.remedy) for mistake in found]


def _mistakes(base: Cell, key: str, value: Any, registries: Registries, *, demo: bool) -> Sequence[Mistake]:
    """What the recipe says against a value."""
    try:
        load_cell(replace(base, sets=(*base.sets, f"{key}={value_text(value)}")), registries, demo=demo)
    except RecipeError as error:
        return error.mistakes
    return ()


def other_aim(goal: Goal, folder: Path, document: Document) -> list[Mistake]:
    """What the trials in a folder looked for that the plan does not look for now: their scores cannot be mixed."""
    trials, before, now = read_trials(folder), read_aim(folder), goal.aim
    if trials and not before:  # of an earlier version, which did not write it
        before = now | {key: "an axis" for key in trials[0].values if key not in now}
        before = {key: text for key, text in before.items() if key not in goal.space or key in trials[0].values}
    if not trials or before == now:
        return []
    changed = [
        f"{key} was {before.get(key, 'not there')} and is {now.get(key, 'not there')}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    found = f"the {len(trials)} trials in {folder} are of another search: {'; '.join(changed)}"
    remedy = "give this search a folder of its own with --out, or write the plan as it was"
    return [Mistake(document.place(("search",)), found, remedy)]


def load_cell(cell: Cell, registries: Registries, *, demo: bool) -> Recipe:
    """The recipe of a cell, as it will be run."""
    if demo:
        return load_demo(cell.recipe, registries, cell.sets)[0]
    return load_recipe(cell.recipe, registries=registries, overrides=cell.sets)
