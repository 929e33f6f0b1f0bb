"""Experiments of the folds of one recipe: each has a network of its own, everything else is built once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from gisegkit.build.experiment import Experiment
from gisegkit.data.folds import assign_folds, rows_of_fold, split_table

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.build.data import Rows

SHARED = ("dataset", "normalization", "preprocess", "metrics", "postprocess", "writers", "store", "source")
"""The parts that no fold changes."""


def draw_folds(experiment: Experiment) -> Rows:
    """The fold of every row, -1 where it has none: one drawing for all folds.

    Raises:
        DataError: as of ``assign_folds``.
    """
    split = experiment.recipe.split
    return assign_folds(
        experiment.trained_table, folds=split.folds, group=split.group, stratify=split.stratify, seed=split.seed
    )


def parts_of_fold(experiment: Experiment, assigned: Rows, fold: int) -> pd.DataFrame:
    """The part of every slice where one fold validates: what a run of that fold alone would note."""
    split = experiment.recipe.split
    train, validation = rows_of_fold(
        experiment.trained_table, assigned, folds=split.folds, fold=fold, subset=split.subset
    )
    return split_table(experiment.dataset.table, train, validation, roles=experiment.roles)


def of_fold(experiment: Experiment, fold: int, parts: pd.DataFrame, *, say: Callable[[str], None]) -> Experiment:
    """An experiment of one fold.

    Args:
        experiment: of the recipe.
        fold: which one.
        parts: the fold's slices, columns id and part.
        say: prints its lines.
    """
    recipe = replace(experiment.recipe, split=replace(experiment.recipe.split, fold=fold))
    one = Experiment(recipe, experiment.registries, console=replace(experiment.console, say=say))
    one.__dict__.update({name: getattr(experiment, name) for name in SHARED})
    one.keep_split(parts)
    return one
