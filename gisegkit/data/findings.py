"""What is found in data: how a file's error becomes a finding, and how errors stop whoever would train on them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gisegkit.errors import DataError, Finding, count

SHOWN = 5
"""Findings of a kind that an error spells out."""


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


def lines_of(findings: Iterable[Finding], *, shown: int = SHOWN) -> list[str]:
    """Findings grouped by kind: the first of each, and how many more there are."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    lines = []
    for kind, found in kinds.items():
        lines += [str(one) for one in found[:shown]]
        if len(found) > shown:
            lines.append(f"... and {len(found) - shown} more of this kind ({kind})")
    return lines


def refuse_errors(findings: Iterable[Finding], *, place: str = "") -> None:
    """Stop where training or predicting would be wrong.

    Args:
        place: what begins the message.

    Raises:
        DataError: if a finding is an error; the first five of each kind, and how many more there are.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    lines = lines_of(errors)
    head = f"{place}: " if place else ""
    if len(lines) == 1:
        raise DataError(head + lines[0])
    raise DataError("\n".join([f"{head}{count(len(errors), 'error')} in the data", *(f"  {line}" for line in lines)]))
