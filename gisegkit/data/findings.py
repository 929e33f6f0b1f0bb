"""Findings of one kind as one line, the worst first, the verdict over all, and the stop where training would be wrong.

Readers, datasets and the doctor (``gisegkit.data.doctor``) find; every command tells what they found by these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gisegkit.errors import DataError, Finding, Severity, count, listed

if TYPE_CHECKING:
    from gisegkit.types import Dataset

WORST_FIRST: tuple[Severity, ...] = ("error", "warning", "note")
SHOWN = 3
"""Places that the line of a kind shows."""


class FindingsError(DataError):
    """Data that training would be wrong on; ``findings`` holds everything that was found, errors and doubts."""

    def __init__(self, text: str, findings: Iterable[Finding] = ()) -> None:
        super().__init__(text)
        self.findings = tuple(findings)


class FileError(DataError):
    """What is wrong with one file.

    Args:
        kind: a few words, the same for all of a kind, as of ``Finding``.
        text: the message, which begins with the file.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def finding_of(error: DataError, path: Path, *, ids: tuple[str, ...] = (), kind: str = "unreadable file") -> Finding:
    """A file's error as a finding.

    Args:
        path: the file; a message that begins with another file keeps it.
        ids: the slices that cannot be used because of it.
        kind: of errors that have none.
    """
    text = str(error).removeprefix(f"{path}: ")
    what, _, remedy = text.partition("; ")
    return Finding(getattr(error, "kind", kind), "error", str(path), what, remedy, ids)


@dataclass(frozen=True)
class Group:
    """Findings of one kind and severity, in the order in which they were found."""

    kind: str
    severity: Severity
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        """One line: the kind, how many, the first with what was found, the next places, and the remedy."""
        first, *others = self.findings
        if not others:
            return f"{self.kind}: {first}"
        places = dict.fromkeys(finding.place for finding in others if finding.place != first.place)
        more = f"; also {listed(places, shown=SHOWN - 1)}" if places else ""
        remedy = f"; {first.remedy}" if first.remedy else ""
        return f"{self.kind} ({len(self.findings)}): {first.place}: {first.what}{more}{remedy}"


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """The findings by kind, worst first; a finding that comes twice counts once."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in dict.fromkeys(findings):
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    made = [Group(kind, severity, tuple(members)) for (severity, kind), members in groups.items()]
    return sorted(made, key=lambda group: WORST_FIRST.index(group.severity))


def verdict(findings: Iterable[Finding], where: str) -> str:
    """The last line about a data set.

    Args:
        where: what was looked at, such as ``24 slices of phantom``.
    """
    kinds = [finding.severity for finding in dict.fromkeys(findings)]
    errors, warnings = kinds.count("error"), kinds.count("warning")
    if errors:
        doubts = f", {count(warnings, 'warning')}" if warnings else ""
        return f"{count(errors, 'error')}{doubts} in {where}: training would be wrong"
    if warnings:
        return f"{count(warnings, 'warning')} in {where}: look at them before training"
    return f"nothing found in {where} that would make training wrong"


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Those that make training wrong."""
    return [finding for finding in findings if finding.severity == "error"]


def warning_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """A line for each kind of doubt."""
    for group in grouped(findings):
        if group.severity == "warning":
            yield f"warning: {group}"


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Stop where training would be wrong, with all reasons at once, one line a kind.

    Raises:
        FindingsError: if a finding is an error.
    """
    found = list(findings)
    errors = errors_of(found)
    if not errors:
        return
    lines = [str(group) for group in grouped(errors)]
    if len(errors) > 1:
        lines.append(f"{count(len(errors), 'error')} in the data; giseg data lists them")
    if any(finding.ids for finding in errors):
        lines.append('to train without these slices: [dataset] on_bad = "skip", or giseg data --fix LIST.csv')
    raise FindingsError("\n".join(lines), found)


def findings_of(dataset: Dataset) -> list[Finding]:
    """What a dataset itself has found: ``findings()``, or the older ``defects()``, whose lines count as warnings.

    Lines of ``notes`` that are no finding are told elsewhere.
    """
    look = getattr(dataset, "findings", None)
    if look is not None:
        return list(look())
    look = getattr(dataset, "defects", None)
    return [] if look is None else [of_line(line) for line in look()]


def of_line(line: str) -> Finding:
    """A line of a dataset that does not speak of findings."""
    place, colon, what = line.partition(": ")
    return Finding("defect", "warning", place if colon else "data", what if colon else line)
