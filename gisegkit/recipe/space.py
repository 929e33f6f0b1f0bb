"""``[search.space]`` of a plan file: which values a search may give which keys of the recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gisegkit.errors import Mistake, did_you_mean
from gisegkit.recipe.plan_keys import keys_of
from gisegkit.recipe.text import Document, value_text
from gisegkit.registry.annotations import show
from gisegkit.types import Axis

PATH = ("search", "space")

KINDS_OF_AXIS = ("uniform", "log_uniform", "integer", "choice")

EXAMPLE = 'write for example "optimizer.lr" = {log_uniform = [1e-5, 1e-2]}'


def space_of(document: Document, table: Mapping[str, Any]) -> tuple[dict[str, Axis], dict[str, str], list[Mistake]]:
    """The axes of a space by key, the place of each, and every mistake.

    Args:
        table: ``[search.space]``.
    """
    axes: dict[str, Axis] = {}
    places: dict[str, str] = {}
    mistakes: list[Mistake] = []
    for key, (value, place) in keys_of(document, table, PATH, tables=True).items():
        try:
            axes[key], places[key] = _axis(value), place
        except ValueError as error:
            mistakes.append(Mistake(place, f"{key} = {show(value)}", str(error)))
    if not table:
        mistakes.append(Mistake(document.place(PATH), "[search] has no space", f"{EXAMPLE} below [search.space]"))
    return axes, places, mistakes


def _axis(value: Any) -> Axis:
    """An axis as TOML writes it; a ValueError says what is valid."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"Valid: a table with one of {', '.join(KINDS_OF_AXIS)}; {EXAMPLE}.")
    ((kind, given),) = value.items()
    if kind not in KINDS_OF_AXIS:
        nearest = did_you_mean(kind, KINDS_OF_AXIS)
        raise ValueError(f"{nearest} Valid: {', '.join(KINDS_OF_AXIS)}.".strip())
    if kind == "choice":
        return _choice(given)
    numbers = isinstance(given, list) and len(given) == 2 and all(type(end) in (int, float) for end in given)
    if numbers and given[0] == given[1]:
        raise ValueError(f"One value is no axis: write {value_text(given[0])} below [run.set].")
    if not numbers or not all(map(math.isfinite, given)) or not given[0] < given[1]:
        raise ValueError(f"Valid: {kind} = [low, high], two numbers, the first one lower.")
    if kind == "integer" and not all(type(end) is int for end in given):
        raise ValueError("Valid: integer = [low, high], two whole numbers.")
    if kind == "log_uniform" and given[0] <= 0:
        raise ValueError("Valid: log_uniform = [low, high], both above 0.")
    return Axis(kind, given[0], given[1])


def _choice(given: Any) -> Axis:
    if not isinstance(given, list) or not given:
        raise ValueError("Valid: choice = [...], a list of values.")
    if any(given.count(value) > 1 for value in given):
        raise ValueError("A value is there twice; give it once.")
    return Axis("choice", values=tuple(given))


def between(axis: Axis) -> tuple[float, ...]:
    """A value inside an axis of numbers, which is not whole: it must be valid as well; none for the other axes."""
    inside = axis.low + (axis.high - axis.low) / math.sqrt(5)
    return (inside,) if axis.kind in ("uniform", "log_uniform") else ()


def moves_scores(key: str) -> str:
    """Why trials that differ in a key cannot be told apart by their scores; empty if they can."""
    part = key.partition(".")[0]
    if part == "metric":
        return "the trials would be scored by another measure each"
    if part == "dataset" or (part == "split" and key != "split.subset"):
        return "the trials would be scored on other cases each"
    return "the name of the runs changes no score" if key == "name" else ""


def ends_of(axis: Axis) -> tuple[Any, ...]:
    """Values by which an axis is checked against a recipe: both ends, or every choice."""
    if axis.kind == "choice":
        return axis.values
    return (axis.low, axis.high)
