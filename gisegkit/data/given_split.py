"""The split that a dataset gives itself, as by the column split of a table: no folds are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.folds import rows_of_split
from gisegkit.errors import DataError, count

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.data.folds import Rows

GIVEN = "the column split of dataset.table says what trains and what validates"


def given_rows(table: pd.DataFrame, parts: pd.DataFrame, *, subset: str, several: bool) -> tuple[Rows, Rows]:
    """The rows that train and that validate.

    Args:
        table: a dataset's table.
        parts: of each slice, columns id and part.
        subset: slices that train: ``all``, or the ``annotated`` of those that the parts name.
        several: whether the recipe asks for several folds.

    Returns:
        Row numbers in rising order, two int64 arrays.

    Raises:
        DataError: if the recipe asks for several folds, which would train on slices that are kept for tests, or no
            slice validates.
    """
    if several:
        raise DataError(
            f"{GIVEN}, so there are no folds to train; set split.fold = 0, or remove the column from the table"
        )
    train, validation = rows_of_split(table, parts)
    if not len(validation):
        raise DataError(
            f"{GIVEN}, and no slice validates; write validation in the rows of some cases, or remove the column"
        )
    empty = table["empty"].to_numpy(dtype=bool)
    return (train[~empty[train]] if subset == "annotated" else train), validation


def given_note(parts: pd.DataFrame) -> str:
    """What is to be known of such a split: what has no effect, and how many slices with masks it leaves out."""
    unused = int(np.isin(parts["part"].to_numpy(dtype=object), ["test", "unused"]).sum())
    rest = f"; {count(unused, 'labelled slice does', 'labelled slices do')} neither" if unused else ""
    return f"{GIVEN}{rest}; [split] folds have no effect"
