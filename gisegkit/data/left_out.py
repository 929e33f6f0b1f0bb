"""A dataset without some of its slices, and the file that lists them: id, kind, reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.data.atomic_files import write_text
from gisegkit.data.findings import findings_of, grouped
from gisegkit.errors import DataError, Finding
from gisegkit.types import Dropped

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.types import AnyArray, Dataset, MaskArray

COLUMNS = ("id", "kind", "reason")
"""Of an exclusion list; the first is enough."""


class Without:
    """A dataset without some of its slices, see ``gisegkit.types.Dataset``.

    Attributes:
        inner: the dataset with them.
        left_out: ids of the slices that are left out.
        parts: as of the dataset: what each slice does, where the dataset says so itself.

    Args:
        dataset: any; it may be such a view itself.
        reasons: why slices are left out, by id; ids that the dataset does not have are passed over, but for those of
            files that cannot be read, so that they are not in its table.
    """

    def __init__(self, dataset: Dataset, reasons: Mapping[str, str]) -> None:
        self.inner: Any = dataset
        ids = dataset.table["id"].astype(str).to_numpy(dtype=object)
        gone = np.array([name in reasons for name in ids], dtype=bool)
        self._rows = np.flatnonzero(~gone).tolist()
        self.table: pd.DataFrame = dataset.table[~gone].reset_index(drop=True)
        names = [*ids[gone].tolist(), *absent_ids(dataset, reasons)]
        self.left_out: tuple[str, ...] = (*getattr(dataset, "left_out", ()), *names)
        why = [reasons[name] for name in names]
        counts = {reason: why.count(reason) for reason in dict.fromkeys(why)}
        self.dropped = (*dataset.dropped, *(Dropped(reason, number) for reason, number in counts.items()))
        parts: pd.DataFrame | None = getattr(dataset, "parts", None)
        self.parts = None if parts is None else parts[~parts["id"].isin(names)].reset_index(drop=True)
        self.classes = tuple(dataset.classes)
        self.exclusive = dataset.exclusive
        self.notes = tuple(getattr(dataset, "notes", ()))
        self.may_ignore = getattr(dataset, "may_ignore", True)
        self.version = getattr(dataset, "version", "")
        self.read_by: type = getattr(dataset, "read_by", type(dataset))  # whose code the prepared slices are made by
        if registered := getattr(dataset, "registered_as", ""):
            self.registered_as = registered
        if hasattr(dataset, "root") and hasattr(dataset, "sources"):
            self.root = dataset.root
            self.sources = self._sources

    def image(self, row: int) -> AnyArray:
        """As of the dataset."""
        image: AnyArray = self.inner.image(self._rows[row])
        return image

    def mask(self, row: int) -> MaskArray:
        """As of the dataset."""
        mask: MaskArray = self.inner.mask(self._rows[row])
        return mask

    @property
    def submission_order(self) -> list[tuple[str, str]] | None:
        """As of the dataset: it may ask for slices that are left out."""
        order: list[tuple[str, str]] | None = getattr(self.inner, "submission_order", None)
        return order

    def findings(self) -> Iterator[Finding]:
        """What the dataset has found, but for what the slices that are left out explain."""
        gone = set(self.left_out)
        for finding in findings_of(self.inner):
            if not finding.ids or not gone.issuperset(finding.ids):
                yield finding

    def _sources(self, row: int) -> tuple[list[str], str]:
        files, text = self.inner.sources(self._rows[row])
        return files, text


def absent_ids(dataset: Dataset, ids: Iterable[str]) -> list[str]:
    """Those ids that the dataset has a finding of but no row, such as that of a file which is cut off."""
    here = set(dataset.table["id"].astype(str)) | set(getattr(dataset, "left_out", ()))
    found = {name for finding in findings_of(dataset) for name in finding.ids} - here
    return [name for name in ids if name in found]


# --- the file -------------------------------------------------------------------------------------------------------


def read_exclusions(file: str | Path) -> dict[str, str]:
    """The ids of an exclusion list, each with what it is left out for: the file's name.

    Raises:
        DataError: if it is missing, or no table with a column id.
    """
    from gisegkit.data.tables import read_rows

    path = Path(file).expanduser()
    table = read_rows(path, ("id",))
    if blank := [line for line, name in zip(table.index, table["id"], strict=True) if not name.strip()]:
        raise DataError(f"{path}: line {blank[0]} has no id; remove the line")
    return dict.fromkeys(table["id"].tolist(), path.name)


def write_exclusions(path: Path, findings: Iterable[Finding]) -> int:
    """Write a list of the slices that errors would be rid of without, each once; how many these are.

    Raises:
        RunError: if it cannot be written.
    """
    rows: dict[str, tuple[str, str, str]] = {}
    for group in grouped(findings):
        for finding in group.findings if group.severity == "error" else ():
            for name in finding.ids:
                rows.setdefault(name, (name, group.kind, f"{finding.place}: {finding.what}"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows.values()])
    write_text(path, text.getvalue())
    return len(rows)
