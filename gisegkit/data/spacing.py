"""Distances between voxels in mm: what a dataset's table tells, handed to the metrics that measure in mm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gisegkit.errors import DataError
from gisegkit.types import SPACING, Metric

if TYPE_CHECKING:
    import pandas as pd


def spacing_at(table: pd.DataFrame, row: int) -> dict[str, float]:
    """mm by those columns of SPACING that a dataset's table has, of one row's scan."""
    known = [column for column in SPACING if column in table.columns]
    return {column: float(table[column].to_numpy()[row]) for column in known}


def spacing_for(name: str, metric: Metric, spacing: Mapping[str, float], *, place: str) -> dict[str, tuple[float, ...]]:
    """The keyword ``spacing`` of a metric that measures in mm; nothing for the others.

    Args:
        name: of the metric, for the message.
        spacing: mm by column.
        place: what the spacing is of, for the message.

    Raises:
        DataError: if a value is missing or no distance.
    """
    columns: Sequence[str] = getattr(metric, "spacing_columns", ())
    missing = [column for column in columns if not 0 < spacing.get(column, math.nan) < math.inf]
    if missing:
        raise DataError(
            f"{place}: metric {name!r} measures in mm, but the data do not tell {', '.join(missing)}; give the "
            "distances (dataset.spacing of a folder, --spacing of giseg score), or leave the metric out"
        )
    return {"spacing": tuple(spacing[column] for column in columns)} if columns else {}


def refuse_unmeasured(metrics: Mapping[str, Metric], table: pd.DataFrame, *, place: str) -> None:
    """Check before anything is trained that metrics in mm can be computed for every scan.

    Raises:
        DataError: if a column that a metric needs is missing, has no distance somewhere, or differs within a scan.
    """
    for name, metric in metrics.items():
        columns = list(getattr(metric, "spacing_columns", ()))
        there = [column for column in columns if column in table.columns]
        lowest = table[there].min(skipna=False)
        spacing_for(name, metric, {column: float(lowest[column]) for column in there}, place=place)
        kinds = table.drop_duplicates(["scan", *there])["scan"]
        if len(mixed := kinds[kinds.duplicated()]):
            scan = mixed.iloc[0]
            raise DataError(f"{place}: scan {scan} has slices of different spacing, and metric {name!r} measures in mm")


def refuse_no_distances(spacing: Sequence[float]) -> None:
    """Check a recipe's ``dataset.spacing``.

    Raises:
        DataError: if it is no list of two or three distances.
    """
    if len(spacing) not in (0, 2, 3) or not all(0 < distance < math.inf for distance in spacing):
        raise DataError(
            f"dataset.spacing = {list(spacing)}: give mm above 0 for [slices, rows, columns] or for [rows, columns]"
        )
