"""Whether the rows of ``train.csv`` and the slices fit together, and whether its runs look right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.run_direction import direction
from gisegkit.errors import Finding, count

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.types import AnyArray, BoolArray

COMPLETE = "the competition's table has a row for each slice and class, an empty one where there is nothing"


NOTHING = ("nan", "NaN", "NA", "N/A", "null", "None", "<NA>")
"""What programs write for a mask that is not there."""


def tidy(rows: pd.DataFrame) -> pd.Series[bool]:
    """Remove what a spreadsheet adds to a table of true masks: blanks around ids and classes, words for no mask.

    Returns:
        Of each row, whether there were blanks.
    """
    keys = rows[["id", "class"]]
    rows[["id", "class"]] = keys.map(str.strip, na_action="ignore")  # else the mask of the row would be lost
    if "segmentation" in rows:
        rows["segmentation"] = rows["segmentation"].replace(dict.fromkeys(NOTHING, ""))
    return ((rows[["id", "class"]] != keys) & keys.notna()).any(axis=1)


def row_findings(
    table: pd.DataFrame, runs: AnyArray, known: BoolArray, *, file: Path, without_file: pd.Series[str]
) -> Iterator[Finding]:
    """Rows without a slice, slices without rows, slices that lack rows of some class, and rows that were dropped.

    Args:
        table: of all slices, N.
        runs: ``[N, K]`` texts.
        known: ``[N, K]``, whether there is a row.
        file: ``train.csv``.
        without_file: ids of rows that belong to no slice, each once.
    """
    scans = without_file.str.replace(r"_slice_\d+$", "", regex=True)
    for scan, number in scans.value_counts(sort=False).items():
        what = f"{number} ids of train.csv have no file in train/, so their masks are not used"
        yield Finding("rows without a slice", "warning", str(scan), what)
    some, every = np.asarray(known.any(axis=1)), np.asarray(known.all(axis=1))
    missing = table[~some & table["path"].str.startswith("train").to_numpy()]
    partial = table[some & ~every]
    begun = missing["scan"].isin(set(table["scan"][some]))
    gaps = int(begun.sum()) + len(partial)
    if gaps and not (known & (runs == "")).any():
        what = (
            f"no row is without a mask, and {count(gaps, 'slice lacks', 'slices lack')} rows (first: "
            f"{[*partial['id'], *missing['id'][begun]][0]}): rows of empty masks were dropped, as dropna() does, so "
            "slices without an organ would count as not labelled, and be predicted instead of trained on"
        )
        remedy = f"take the file as it was; {COMPLETE}"
        yield Finding("rows of empty masks dropped", "error", str(file), what, remedy)
        return
    for scan, number in missing["scan"].value_counts(sort=False).items():
        what = f"{count(int(number), 'slice has', 'slices have')} no rows in train.csv; not labelled then"
        yield Finding("slices without rows", "warning", str(scan), what)
    for name in partial["id"]:
        what = "train.csv lacks a row for some class, so that the class would count as absent"
        yield Finding("rows missing for some class", "error", name, what, COMPLETE, (name,))


def direction_findings(table: pd.DataFrame, runs: AnyArray, classes: Sequence[str], *, file: Path) -> Iterator[Finding]:
    """A doubt where runs look as if they were written along the columns."""
    sizes = table[["height", "width"]].to_numpy().tolist()
    ids = table["id"].tolist()
    rows, ks = np.nonzero(runs != "")
    masks = (
        (f"{ids[row]}, {classes[k]}", str(runs[row, k]), *sizes[row])
        for row, k in zip(rows.tolist(), ks.tolist(), strict=True)
    )
    found = direction(masks)
    if found.doubtful:
        remedy = "write them anew along the rows, or take the competition's own train.csv"
        yield Finding("runs along the columns", "error", str(file), str(found), remedy)
