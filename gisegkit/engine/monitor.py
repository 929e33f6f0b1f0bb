"""Which scores there will be, which way each is better, and whether the recipe monitors one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gisegkit.errors import ComponentError, DataError, Mistake, RecipeError, did_you_mean
from gisegkit.types import SPACING, Metric

if TYPE_CHECKING:
    from gisegkit.recipe.sections import Recipe

PROBE = (4, 32, 32)
"""Slices, rows and columns of the made-up scan that a metric is asked for its parts with."""


def direction_of_monitor(recipe: Recipe, metrics: Mapping[str, Metric], classes: Sequence[str] | None) -> bool | None:
    """Whether the best epoch is that with the highest value of the score that the recipe monitors.

    Args:
        recipe: its ``[train] monitor`` is a metric, ``metric/part`` or ``metric/class``.
        metrics: the recipe's, by name.
        classes: of the data; None if they are not known yet.

    Returns:
        True where higher is better, False where lower is; None if that depends on classes that are not known yet.

    Raises:
        RecipeError: if there will be no such score, or the metric does not say which way that part of it is better.
        ComponentError: if a metric cannot be called, or what it says of its parts makes no sense.
        DataError: if a class has the name of a part.
    """
    monitor = recipe.monitor
    if monitor in metrics and classes is None:
        return metrics[monitor].higher_is_better
    count = 3 if classes is None else len(classes)
    parts = {name: parts_of(name, metric, classes=count) for name, metric in metrics.items()}
    known = directions(metrics, parts, classes or ())
    if monitor in known:
        higher = known[monitor]
        if higher is None:
            raise _mistake(recipe, *_untold(monitor, parts, metrics))
        return higher
    if classes is None:
        return None
    name = max((name for name in metrics if monitor.startswith(f"{name}/")), key=len, default="")
    near = did_you_mean(monitor, [key for key in known if key.startswith(f"{name}/")] if name else known, limit=1)
    valid = f"Valid: {', '.join(known)}."
    raise _mistake(recipe, f'train.monitor = "{monitor}" is no score of this recipe', f"{near} {valid}".strip())


def _untold(monitor: str, parts: Mapping[str, Sequence[str]], metrics: Mapping[str, Metric]) -> tuple[str, str]:
    """What is wrong, and the remedy, where a metric does not say which way one of its parts is better."""
    name = next(name for name in metrics if monitor in {f"{name}/{part}" for part in parts[name]})
    part = monitor.removeprefix(f"{name}/")
    found = f'train.monitor = "{monitor}": metric {name!r} does not say whether a higher or a lower {part!r} is better'
    told = f"part_directions = {{{part!r}: True}}"
    return found, f"give the metric's class {told} (False: lower is better), or monitor {name!r} or a class of it"


def _mistake(recipe: Recipe, found: str, remedy: str) -> RecipeError:
    return RecipeError(recipe.source, [Mistake(f"{recipe.source}, [train]", found, remedy)])


def parts_of(name: str, metric: Metric, *, classes: int) -> tuple[str, ...]:
    """The parts of a metric, asked for with a made-up scan.

    Raises:
        ComponentError: if the metric cannot be called.
    """
    import numpy as np

    from gisegkit.data.spacing import spacing_for

    spacing: Any = spacing_for(name, metric, dict.fromkeys(SPACING, 1.0), place="a made-up scan")
    truth = np.random.default_rng(0).random((*PROBE, classes)) < 0.3
    try:
        return tuple(metric(truth.copy(), truth, **spacing))  # equal, since distances of others would import scipy
    except Exception as error:  # of a plugin: anything
        size = " x ".join(map(str, PROBE))
        cause = f"{type(error).__name__}: {error}"
        raise ComponentError(f"metric {name!r} fails on a scan of {size} with {classes} classes: {cause}") from error


def directions(
    metrics: Mapping[str, Metric], parts: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> dict[str, bool | None]:
    """For each score that there will be whether higher is better, in the order of ``Scoreboard.scores``.

    A class is judged as its metric is. A part is judged as the metric's ``part_directions`` says; None if it does
    not.

    Args:
        parts: of each metric; one that has a single part has no scores of parts.

    Raises:
        ComponentError: if a metric says something of a part that it does not have, or neither True nor False.
        DataError: if a class has the name of a part, so that one score would mean two things.
    """
    found: dict[str, bool | None] = {}
    for name, metric in metrics.items():
        told: Mapping[str, Any] = getattr(metric, "part_directions", {})
        own = parts.get(name, ())
        for part, higher in told.items() if name in parts else ():
            if part not in own or not isinstance(higher, bool):
                there = ", ".join(map(repr, own))
                raise ComponentError(
                    f"metric {name!r}: part_directions has {part!r}: {higher!r}, and its parts are {there}; give True "
                    "(higher is better) or False for each"
                )
        found[name] = metric.higher_is_better
        for part in own if len(own) > 1 else ():
            found[f"{name}/{part}"] = told.get(part)
            if part in classes:
                raise DataError(
                    f"a class is called {part!r}, and so is a part of metric {name!r}: the score {name}/{part} would "
                    "mean two things; rename the class, or leave the metric out"
                )
        found |= {f"{name}/{label}": metric.higher_is_better for label in classes}
    return found


def better(higher: bool | None) -> str:
    """Which way a score is better, in words; empty if it is not known."""
    return "" if higher is None else f"{'higher' if higher else 'lower'} is better"
