"""The page of a plan: its ranking with intervals, what its search tried, and what is not done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gisegkit.report.drawing import DEMO
from gisegkit.report.templates import is_number, render

WIDTH = 220
"""Pixels of an interval's drawing."""

NONE = "no run is evaluated yet"


def render_ranking(
    *,
    name: str,
    demo: bool,
    about: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    seeds: Sequence[Sequence[float]],
    first: str = "",
    metric: str = "",
    convention: str = "",
    nothing: str = NONE,
    search: Mapping[str, Any] | None = None,
    undone: Sequence[tuple[str, str, str]] = (),
    notes: Sequence[str] = (),
) -> str:
    """A plan on one page.

    Args:
        name: of the plan.
        demo: whether a banner says that the data are synthetic.
        about: facts that are printed below the name.
        rows: of the ranking, as ``ranking.csv`` has them.
        seeds: of each row, the score of each seed.
        first: the setting that the others are compared with.
        nothing: why there is no ranking, if there are no rows.
        search: ``about``, ``charts`` (HTML), ``importance``, ``axes`` and ``trials``; None without a search.
        undone: (step, state, why) of each step that is not done.

    Returns:
        The HTML text; it refers to nothing outside itself.
    """
    scale = _scale(rows, seeds)
    shown = [{**row, "bar": _bar(row, own, scale)} for row, own in zip(rows, seeds, strict=True)]
    return render(
        "ranking.html",
        name=name,
        demo=DEMO if demo else "",
        about=about,
        rows=shown,
        several=any(row["planned_seeds"] > 1 for row in rows),
        width=WIDTH,
        first=first,
        metric=metric,
        convention=convention,
        nothing=nothing,
        search=search,
        undone=undone,
        notes=notes,
    )


def _scale(rows: Sequence[Mapping[str, Any]], seeds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The lowest and the highest number that is drawn."""
    ends = [row[key] for row in rows for key in ("score", "low", "high")] + [value for own in seeds for value in own]
    found = [float(value) for value in ends if is_number(value)]
    return (min(found), max(found)) if found else (0.0, 1.0)


def _bar(row: Mapping[str, Any], seeds: Sequence[float], scale: tuple[float, float]) -> dict[str, Any] | None:
    """Where a row's interval, score and seeds are drawn, in pixels; None without a score."""
    if not is_number(row["score"]):
        return None
    low, high = scale

    def x(value: float) -> float:
        return round(6 + (value - low) / ((high - low) or 1.0) * (WIDTH - 12), 1)

    ends = {key: x(row[key]) if is_number(row[key]) else x(row["score"]) for key in ("low", "high")}
    return {**ends, "score": x(row["score"]), "seeds": [x(value) for value in seeds if is_number(value)]}
