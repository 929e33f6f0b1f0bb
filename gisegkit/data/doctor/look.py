"""Slices read once for the doctor: their facts, and what cannot be read or used, all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gisegkit.data.doctor.facts import SliceFacts, facts_of
from gisegkit.data.findings import FindingsError
from gisegkit.data.reading import SHOWN, check_size, id_of, not_finite, not_finite_line, read_mask, read_slice
from gisegkit.errors import DataError, Finding, count
from gisegkit.machine import usable_cores
from gisegkit.types import Progress, silent

if TYPE_CHECKING:
    from gisegkit.types import Dataset

AT_ONCE = 64
"""Slices for which threads are given work at a time, so that an early end does not wait for thousands."""


def unreadable(name: str, error: Exception | str) -> Iterator[Finding]:
    """Findings of a slice that cannot be read: one for each line of the error."""
    for line in str(error).splitlines():
        yield Finding("unreadable slice", "error", name, line, ids=(name,))


def unusable(dataset: Dataset, row: int) -> Finding:
    """The finding of a slice whose values no network can use."""
    name = id_of(dataset, row)
    return Finding("values that are not finite", "error", name, not_finite_line(dataset, row), ids=(name,))


def refuse_slices(unread: list[Finding], spoilt: list[Finding], *, cause: Exception | None = None) -> None:
    """Name all slices that cannot be read or used, 20 of them in words; several may be made of one file.

    Args:
        unread: of slices that cannot be read, so that what they belong to is not prepared.
        spoilt: of slices that were read, but whose values no network can use.
        cause: of the first of them, for ``--debug``.

    Raises:
        FindingsError: if there is one.
    """
    lines = list(dict.fromkeys(finding.what for finding in [*unread, *spoilt]))
    if not lines:
        return
    shown = lines[:SHOWN] + [f"... and {len(lines) - SHOWN} more"] * (len(lines) > SHOWN)
    if unread:
        shown.append(f"{count(len(lines), 'problem')} while slices were read; scans without one are prepared")
    raise FindingsError("\n".join(shown), [*unread, *spoilt]) from cause


def look_at(
    dataset: Dataset, rows: Iterable[int], *, progress: Progress = silent
) -> tuple[dict[int, SliceFacts], list[Finding]]:
    """Read slices, image and mask, and keep their facts; none stays in memory.

    In threads, if the dataset is made for that (it has ``root`` and ``sources``).

    Returns:
        The facts by row, and a finding for each slice that cannot be read or used.

    Raises:
        ComponentError: if a plugin's reader fails, which is no fault of the data.
    """
    wanted = [int(row) for row in rows]
    labelled = dataset.table["labelled"].to_numpy(dtype=bool)

    def look(row: int) -> tuple[int, SliceFacts | None, list[Finding]]:
        try:
            image = read_slice(dataset, row)
            mask = read_mask(dataset, row) if labelled[row] else None
            check_size(dataset, row, image=image, mask=mask)
        except DataError as error:
            return row, None, list(unreadable(id_of(dataset, row), error))
        return row, facts_of(image, mask), [unusable(dataset, row)] if not_finite(image) else []

    facts: dict[int, SliceFacts] = {}
    findings: list[Finding] = []
    for row, seen, problems in progress(_each(dataset, look, wanted), "look at slices", len(wanted)):
        findings += problems
        if seen is not None:
            facts[row] = seen
    return facts, findings


Look = Callable[[int], tuple[int, SliceFacts | None, list[Finding]]]


def _each(dataset: Dataset, look: Look, rows: list[int]) -> Iterator[tuple[int, SliceFacts | None, list[Finding]]]:
    if not (hasattr(dataset, "sources") and hasattr(dataset, "root")):
        yield from map(look, rows)
        return
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(rows), AT_ONCE):
            yield from pool.map(look, rows[start : start + AT_ONCE])
