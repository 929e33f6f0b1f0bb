"""Several datasets as one: the one that is split into folds, and those that only train or only test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gisegkit.data.store.sources import code_of, digest
from gisegkit.errors import DataError, Finding, count, listed

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, Dataset, MaskArray

NAMED = {"id": "slice", "scan": "scan", "case": "case"}
"""Columns whose values belong to one dataset, and what they name."""


class JoinedDataset:
    """The datasets of a recipe as one, see ``gisegkit.types.Dataset``.

    Args:
        parts: datasets with what messages call them and their roles; the first one, whose role is ``train``, is that
            which is split, and whose order a submission has.

    Attributes:
        roles: ``[N]``: ``train``, ``extra`` or ``test`` for each row of the table.

    Raises:
        DataError: if classes or channels differ, or a slice, scan or case is in two datasets.
    """

    def __init__(self, parts: Sequence[tuple[str, str, Dataset]]) -> None:
        self._datasets: list[Any] = [dataset for _, _, dataset in parts]
        first = self._datasets[0]
        for name, _, dataset in parts:
            if getattr(dataset, "parts", None) is not None:
                raise DataError(
                    f"{name}: its table has a column split, which only a recipe with one dataset can follow"
                )
        for name, _, dataset in parts[1:]:
            _refuse_difference(parts[0][0], first, name, dataset)
        tables = [dataset.table.assign(_part=number) for number, dataset in enumerate(self._datasets)]
        joined = pd.concat([table.assign(_row=np.arange(len(table))) for table in tables], ignore_index=True)
        _refuse_shared(joined, [name for name, _, _ in parts])
        joined = joined.sort_values(["scan", "position"], kind="stable", ignore_index=True)
        self._places = joined[["_part", "_row"]].to_numpy(dtype=np.int64).tolist()
        self.roles = np.array([role for _, role, _ in parts], dtype=object)[joined["_part"].to_numpy()]
        self.table = joined.drop(columns=["_part", "_row"])
        self.classes = tuple(first.classes)
        self.exclusive = all(dataset.exclusive for dataset in self._datasets)
        self.dropped = tuple(item for dataset in self._datasets for item in dataset.dropped)
        self.notes = tuple(line for dataset in self._datasets for line in getattr(dataset, "notes", ()))
        self.may_ignore = any(getattr(dataset, "may_ignore", True) for dataset in self._datasets)
        self.submission_order = getattr(first, "submission_order", None)
        readers: list[type] = [getattr(one, "read_by", type(one)) for one in self._datasets]
        versions = [getattr(one, "version", "") for one in self._datasets]
        self.version = digest(f"{[*map(code_of, readers)]} {versions}")
        if all(hasattr(one, "sources") and hasattr(one, "root") for one in self._datasets):
            self.root = first.root
            self.sources = self._sources

    def image(self, row: int) -> AnyArray:
        """As of the slice's own dataset."""
        part, own = self._places[row]
        image: AnyArray = self._datasets[part].image(own)
        return image

    def mask(self, row: int) -> MaskArray:
        """As of the slice's own dataset."""
        part, own = self._places[row]
        mask: MaskArray = self._datasets[part].mask(own)
        return mask

    def _sources(self, row: int) -> tuple[list[str], str]:
        part, own = self._places[row]
        files, text = self._datasets[part].sources(own)
        return [str(file) for file in files], text

    def findings(self) -> Iterator[Finding]:
        """What each dataset finds in its files."""
        for dataset in self._datasets:
            yield from getattr(dataset, "findings", tuple)()

    def defects(self) -> Iterator[str]:
        """What each dataset finds worth a look."""
        for dataset in self._datasets:
            look = getattr(dataset, "defects", None)
            if look is not None:
                yield from look()


def _refuse_difference(first_name: str, first: Dataset, name: str, other: Dataset) -> None:
    if tuple(first.classes) != tuple(other.classes):
        raise DataError(
            f"{name} has the classes {', '.join(other.classes)}, {first_name} has {', '.join(first.classes)}; "
            "all datasets of a recipe need the same classes in the same order"
        )
    channels = [1 if image.ndim == 2 else image.shape[2] for image in (first.image(0), other.image(0))]
    if channels[0] != channels[1]:
        raise DataError(f"{name} has images of {count(channels[1], 'channel')}, {first_name} of {channels[0]}")


def _refuse_shared(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Check that no slice, scan or case is in two datasets: what trains would be tested on."""
    for column, what in NAMED.items():
        pairs = table[[column, "_part"]].drop_duplicates()
        shared = pairs[pairs[column].duplicated(keep=False)]
        if len(shared):
            value = shared[column].iloc[0]
            those = sorted(set(shared[column]))
            where = " and ".join(names[part] for part in shared.loc[shared[column] == value, "_part"].iloc[:2])
            raise DataError(
                f"{where} share {count(len(those), what)}: {listed(those)}; if they are the "
                "same, take them out of one; if not, rename them in one"
            )
