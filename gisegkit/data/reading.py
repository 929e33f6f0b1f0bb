"""Images and masks as a dataset's readers give them; an error of theirs says which slice it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gisegkit.types import AnyArray, Dataset, MaskArray

T = TypeVar("T")


def read_image(dataset: Dataset, row: int) -> AnyArray:
    """The image of a row of the table; whatever its reader raises has a note with the slice's id."""
    return _named(dataset, row, dataset.image, "image")


def read_mask(dataset: Dataset, row: int) -> MaskArray:
    """The mask of a row of the table; whatever its reader raises has a note with the slice's id."""
    return _named(dataset, row, dataset.mask, "mask")


def _named(dataset: Dataset, row: int, read: Callable[[int], T], what: str) -> T:
    try:
        return read(row)
    except Exception as error:
        error.add_note(f"This error was raised while the {what} of slice {dataset.table['id'].iat[row]} was read.")
        raise
