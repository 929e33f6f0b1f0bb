"""What is found in an experiment's data: told once, and where training would be wrong, refused or left out.

What table and constructor tell comes before anything is built. What only the slices tell comes when they are prepared,
or read for the first time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.build.dataset import prepared_line, stack_warnings
from gisegkit.build.datasets import bad_ids
from gisegkit.data.doctor.diagnosis import diagnose
from gisegkit.data.doctor.facts import SliceFacts
from gisegkit.data.doctor.look import look_at
from gisegkit.data.doctor.seen import Seen
from gisegkit.data.doctor.tables import split_findings, table_findings
from gisegkit.data.findings import FindingsError, errors_of, findings_of, grouped, refuse_errors
from gisegkit.data.reading import read_mask
from gisegkit.data.spacing import refuse_unmeasured
from gisegkit.data.survey import Survey, survey
from gisegkit.errors import DataError, Finding, count

if TYPE_CHECKING:
    from gisegkit.build.data import ExperimentData, Rows

IDLE = "setting without effect"


def known_findings(data: ExperimentData) -> list[Finding]:
    """What the dataset has found itself and its table tells, but for its notes; reads no slice."""
    dataset = data.dataset
    notes = tuple(getattr(dataset, "notes", ()))
    own = [finding for finding in findings_of(dataset) if not any(finding.what in note for note in notes)]
    return [*own, *table_findings(dataset.table, left_out=_numbers_left_out(data))]


def tell(data: ExperimentData, findings: Iterable[Finding]) -> None:
    """Print a line for each kind of doubt and of note, once a session, and stop where training would be wrong.

    Raises:
        FindingsError: if there is an error.
    """
    found = list(findings)
    for group in grouped(found):
        if group.severity != "error":
            data.console.once(f"{group.severity}: {group}")
    refuse_errors(found)


def tell_left_out(data: ExperimentData) -> None:
    """Print how many slices are left out, and why, once a session."""
    for dropped in data.dataset.dropped:
        data.console.once(f"left out: {count(dropped.slices, 'slice')} ({dropped.reason})")


def parts_of(data: ExperimentData) -> dict[int, str]:
    """``train`` or ``validation`` of the rows that are on one side of the split, ``test`` of those that only test."""
    train, validation = data.split
    both = set(np.intersect1d(train, validation).tolist())
    parts = dict.fromkeys(train.tolist(), "train") | dict.fromkeys(validation.tolist(), "validation")
    parts |= dict.fromkeys(data.rows_of_role("test").tolist(), "test")
    return {row: part for row, part in parts.items() if row not in both}


def _numbers_left_out(data: ExperimentData) -> dict[str, set[int]]:
    """Numbers of slices by scan that are not in the table on purpose."""
    numbers: dict[str, set[int]] = {}
    for one in data.made:
        gone = set(getattr(one.dataset, "left_out", ())) | set(data.skipped)
        whole = one.dataset
        while gone and hasattr(whole, "inner"):
            whole = whole.inner
        table = whole.table
        for scan, position in table.loc[table["id"].isin(list(gone)), ["scan", "position"]].itertuples(index=False):
            numbers.setdefault(str(scan), set()).add(int(position))
    return numbers


# --- slices ---------------------------------------------------------------------------------------------------------


def prepare_once(data: ExperimentData) -> bool:
    """Decode and keep the slices that train or validate, and look at them.

    Returns:
        Whether slices were left out, so that this is to be done again.

    Raises:
        DataError: if slices cannot be kept, or have errors that are not left out.
    """
    rows, store = np.concatenate(data.split), data.store
    if store is not None:
        try:
            data.prepared = store.prepare(rows, progress=data.console.progress)
        except FindingsError as error:
            return left_out_or_raise(data, error)
        if data.prepared.made:
            data.console.say(prepared_line(store, data.prepared))
    return examine(data, rows, parts=parts_of(data))


def examine(data: ExperimentData, rows: Rows, *, parts: dict[int, str] | None = None) -> bool:
    """Look at slices that were not looked at yet, tell what is doubtful, and stop at errors or leave them out.

    Facts of prepared slices are known; others are read once.

    Args:
        parts: of the split, by row.

    Returns:
        Whether slices were left out, so that the dataset is another one and rows have other numbers.

    Raises:
        FindingsError: if slices have errors that are not left out.
    """
    ids = data.dataset.table["id"].astype(str).tolist()
    if all(ids[row] in data.seen for row in rows.tolist()):
        return False
    if problems := see(data, rows):
        return leave_out(data, problems)
    facts = {row: data.seen[ids[row]] for row in sorted(set(rows.tolist()))}
    findings = findings_in(data, facts, parts or {})
    return leave_out(data, findings)


def see(data: ExperimentData, rows: Rows) -> list[Finding]:
    """Have the facts of these slices in ``data.seen``: those of prepared slices are known, others are read once.

    Returns:
        A finding for each slice that cannot be read or used.
    """
    ids = data.dataset.table["id"].astype(str).tolist()
    wanted = {row for row in rows.tolist() if ids[row] not in data.seen}
    found = [] if data.store is None or not wanted else list(data.store.facts(np.array(sorted(wanted))).items())
    data.seen.update((ids[row], facts) for row, facts in found if row in wanted)
    unread = [row for row in rows.tolist() if ids[row] not in data.seen]
    if not unread:
        return []
    read, problems = look_at(data.dataset, unread, progress=data.console.progress)
    data.seen.update((ids[row], facts) for row, facts in read.items())
    return problems


def findings_in(data: ExperimentData, facts: dict[int, SliceFacts], parts: dict[int, str]) -> list[Finding]:
    """What the facts of slices show, by row."""
    dataset = data.dataset
    seen = Seen(dataset.table, tuple(dataset.classes), facts, lambda row: read_mask(dataset, row), parts)
    return diagnose(seen)


def left_out_or_raise(data: ExperimentData, error: FindingsError) -> bool:
    """Leave out the slices of an error's findings where the recipe says so; else raise it as it is."""
    if not any(one.skips for one in data.made):
        raise error
    return leave_out(data, error.findings)


def leave_out(data: ExperimentData, findings: Collection[Finding]) -> bool:
    """Tell findings; leave out the slices of errors where the recipe says so, else stop.

    Returns:
        Whether slices were left out.

    Raises:
        FindingsError: if there are errors that are not left out.
    """
    errors = errors_of(findings)
    if not errors:
        tell(data, findings)
        return False
    skippable = _skippable(data, errors)
    kept = [error for error in errors if not error.ids or not skippable.issuperset(error.ids)]
    if kept:
        tell(data, findings)
    tell(data, [finding for finding in findings if finding.severity != "error"])
    for group in grouped(errors):
        data.console.once(f"left out: {group}")
    data.skip(skippable)
    tell_left_out(data)
    return True


def look(data: ExperimentData, *, quick: bool) -> tuple[Survey | None, list[Finding]]:
    """Everything that is found in the data of a recipe, read as they are; stops at nothing.

    Where the recipe leaves slices with errors out, they are told as notes, and the others are looked at again.

    Args:
        quick: whether no slice is read.

    Raises:
        FindingsError: if no slice is left.
    """
    gone: list[Finding] = []
    while True:
        found, findings = _look_once(data, quick=quick)
        errors = errors_of(findings)
        skipped = _skippable(data, errors)
        skipped -= set(data.skipped)  # should any stay, it is told as it is
        explained = [error for error in errors if error.ids and skipped.issuperset(error.ids)]
        if not explained:
            return found, [*findings, *gone]
        gone += [replace(error, kind=f"left out: {error.kind}", severity="note") for error in explained]
        data.skip({name for error in explained for name in error.ids})
        try:
            _ = data.dataset
        except FindingsError as nothing:
            raise FindingsError(str(nothing), findings) from nothing


def _skippable(data: ExperimentData, errors: Collection[Finding]) -> set[str]:
    """The slices of errors that the recipe leaves out."""
    names = {name for name, _ in bad_ids(errors)}
    return {name for one in data.made if one.skips for name in one.dataset.table["id"].astype(str) if name in names}


def _look_once(data: ExperimentData, *, quick: bool) -> tuple[Survey | None, list[Finding]]:
    parts: dict[int, str] = {}
    findings: list[Finding] = []
    try:
        refuse_unmeasured(data.metrics, data.dataset.table, place=str(data.recipe.dataset.place))
        parts = parts_of(data)
    except DataError as error:
        findings.append(Finding("split", "error", "the recipe", str(error)))
    found = None
    if quick:
        findings += findings_of(data.dataset)
    else:
        found = survey(data.dataset, normalization=data.normalization, parts=parts, progress=data.console.progress)
        findings += found.findings
    findings += table_findings(data.dataset.table, left_out=_numbers_left_out(data))
    findings += split_findings(data.dataset.table, parts, given=data.given is not None)
    if lines := [line.strip().removeprefix("warning: ") for line in stack_warnings(data.recipe, data.dataset)]:
        findings.append(Finding(IDLE, "warning", "[input] slices", lines[0], "; ".join(lines[1:])))
    return found, findings
