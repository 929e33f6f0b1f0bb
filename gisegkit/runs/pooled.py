"""Evaluated runs of one fold each, put together: as if one run had all these folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from gisegkit.errors import RunError
from gisegkit.runs.scored import Evaluated, check_comparable


def pooled(runs: Sequence[Evaluated], metric: str) -> tuple[Evaluated, ...]:
    """Runs that differ in nothing but the fold as one, with the slices of all, for each seed.

    Raises:
        RunError: if two of them scored the same slices, or were not scored alike.
    """
    by_seed: dict[Any, list[Evaluated]] = {}
    for run in runs:
        by_seed.setdefault(run.recipe.get("seed", 0), []).append(run)
    return tuple(_together(own, metric) for own in by_seed.values())


def _together(runs: Sequence[Evaluated], metric: str) -> Evaluated:
    first, *others = runs
    if not others:
        return first
    for other in others:
        check_comparable(first, other, metric)
    slices, scans = (pd.concat([getattr(run, name) for run in runs], ignore_index=True) for name in ("slices", "scans"))
    labels = ", ".join(run.label for run in runs)
    if slices.duplicated(["id", "class"]).any():
        raise RunError(f"{labels} are of other folds and scored the same slices, so they are not put together")
    split = dict(first.recipe["split"]) | {"fold": sorted(run.recipe["split"]["fold"] for run in runs)}
    return replace(first, label=labels, slices=slices, scans=scans, recipe={**first.recipe, "split": split})
