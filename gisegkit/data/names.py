"""What the names of image files tell by a pattern or template, and why two lists of them do not pair."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from gisegkit.errors import DataError, did_you_mean
from gisegkit.types import FORMER_COLUMNS

NAMED = ("scan", "position", "case")
"""Groups of a pattern that have a meaning."""

SHOWN = 3
"""Names that are examples of many."""


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by value: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def examples(names: Collection[str]) -> str:
    """The first names in natural order, and dots if there are more."""
    return ", ".join(sorted(names, key=natural)[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


# --- the table ---


def arrange(
    images: Mapping[str, Path], pattern: str, *, folders: Path | None = None, template: str = ""
) -> pd.DataFrame:
    """The table's columns that names tell, sorted by scan and position.

    Args:
        images: the files by name.
        pattern: as of the dataset ``folder``; empty makes each image a scan and a case of its own.
        folders: where the folders are whose subfolders are cases; names then begin with ``CASE_``.
        template: what the pattern was made of, for messages; empty if the user wrote a pattern.

    Raises:
        DataError: if the pattern is wrong, does not describe a name, or makes two slices or two cases one.
    """
    expression = _compile(pattern)
    said = f"dataset.names = {template!r}" if template else f"dataset.pattern = {pattern!r}"
    fields = ("{scan}", "{case}") if template else ("(?P<scan>...)", "(?P<case>...)")
    rows: list[tuple[str, str, int, str]] = []
    counts: Counter[str] = Counter()
    for name in sorted(images, key=natural):
        outer = _subfolder(images[name], folders)
        own = name.removeprefix(f"{outer}_") if outer else name
        found = expression.fullmatch(own)
        if found is None:
            raise DataError(f"{images[name]}: {said} does not describe the name {own!r}")
        parts = found.groupdict()
        scan = _scan(found, name)
        if outer:
            scan = f"{outer}/{parts['scan']}" if parts.get("scan") else outer
            parts["case"] = outer
        position = parts.get("position", str(counts[scan]))
        if position is None or not position.isdecimal():
            raise DataError(f"{images[name]}: {said} finds no whole number as position in {name!r}")
        counts[scan] += 1
        rows.append((name, scan, int(position), parts.get("case") or scan))
    table = pd.DataFrame(rows, columns=["id", "scan", "position", "case"])
    table = table.sort_values(["scan", "position"], ignore_index=True, kind="stable")
    _refuse_unclear(table, said, *fields)
    return table


def _refuse_unclear(table: pd.DataFrame, said: str, scan_field: str, case_field: str) -> None:
    """Check that no two slices have one place, and no scan is of two cases."""
    twice = table.duplicated(["scan", "position"], keep=False)
    if twice.any():
        first = table[twice].iloc[0]
        names = " and ".join(table["id"][twice].tolist()[:2])
        raise DataError(
            f"{said} gives {names} the same scan and position ({first['scan']}, {first['position']}); put what tells "
            f"them apart into {scan_field} or {case_field}, or rename one"
        )
    cases = table.groupby("scan", sort=False)["case"].unique()
    mixed = cases[cases.map(len) > 1]
    if len(mixed):
        raise DataError(
            f"{said} puts slices of the cases {' and '.join(mixed.iloc[0][:2])} into the scan {mixed.index[0]}; a scan "
            f"is of one case, so put the case into {scan_field} too"
        )


def _subfolder(path: Path, folders: Path | None) -> str:
    """The case that a file's folder is; empty if folders are no cases, or it is in none."""
    if folders is None or len(path.relative_to(folders).parts) < 3:
        return ""
    return unicodedata.normalize("NFC", path.parent.name)


def _scan(found: re.Match[str], name: str) -> str:
    """The scan of a name. Other cases may have one of the same name: the case is put before it, if not in it already.

    That depends on the pattern alone: a scan is called the same in whatever data it is.
    """
    parts = found.groupdict()
    scan, case = parts.get("scan"), parts.get("case")
    if not scan or not case:
        return scan or case or name
    within = found.start("scan") <= found.start("case") and found.end("case") <= found.end("scan")
    return scan if within else f"{case}/{scan}"


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern or ".*")
    except re.error as error:
        raise DataError(f"dataset.pattern = {pattern!r} is no regular expression: {error}") from error
    for name in expression.groupindex:
        if name not in NAMED:
            now = FORMER_COLUMNS.get(name)
            hint = f"write (?P<{now}>...), its name now" if now else did_you_mean(name, NAMED)
            valid = f"valid are {', '.join(NAMED)}; {hint}".rstrip("; ")
            raise DataError(f"dataset.pattern: the named group {name!r} has no meaning; {valid}")
    if pattern and not expression.groupindex:
        raise DataError(
            f"dataset.pattern = {pattern!r} has no named group; write (?P<scan>...), (?P<position>...) or (?P<case>...)"
        )
    return expression


# --- pairs ---


def misfit(plain: Collection[str], longer: Collection[str]) -> tuple[str, str]:
    """How all longer names differ from the plain ones, such as ("end", "_mask"); empty if nothing explains it."""
    whole = set(longer)
    for other in sorted(longer)[:SHOWN]:
        for name in plain:
            if name == other:
                continue
            if other.startswith(name):
                rest = other.removeprefix(name)
                place, joined = "end", {one + rest for one in plain}
            elif other.endswith(name):
                rest = other.removesuffix(name)
                place, joined = "begin", {rest + one for one in plain}
            else:
                continue
            if joined >= whole or joined <= whole:
                return place, rest
    return "", ""


def two_endings(some: Collection[str], others: Collection[str]) -> tuple[str, str]:
    """What the names of each side end with, such as ("_img", "_seg"), if without it they pair; empty if they do not."""
    ends = [_ending(names) for names in (some, others)]
    if not all(ends):
        return "", ""
    plain = [{name.removesuffix(end) for name in names} for names, end in zip((some, others), ends, strict=True)]
    return (ends[0], ends[1]) if plain[0] <= plain[1] or plain[1] <= plain[0] else ("", "")


def _ending(names: Collection[str]) -> str:
    """What all names end with, from a separator on; empty for nothing, and for a single name."""
    if len(names) < 2:
        return ""
    first, last = min(backward := [name[::-1] for name in names]), max(backward)
    alike = next((place for place, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), None)
    found = re.search(r"[ _.\-].*[^\W\d].*", first[:alike][::-1])
    return found[0] if found else ""


# --- templates ---

FIELDS = {"case": "(?P<case>.+)", "scan": "(?P<scan>.+)", "slice": r"(?P<position>\d+)", "": ".*"}
"""What the fields of a template match."""


def pattern_of(template: str) -> str:
    """The regular expression of a template such as ``{case}_{slice}``.

    Raises:
        DataError: if it has a field that means nothing, one twice, or none.
    """
    parts = re.split(r"\{([^{}]*)\}", template)
    named = [name for name in parts[1::2] if name]
    for name in named:
        if name not in FIELDS:
            hint = did_you_mean(name, FIELDS) or ("write {slice}" if name in ("position", "number") else "")
            raise DataError(
                f"dataset.names = {template!r}: {{{name}}} has no meaning; valid are {{case}}, {{scan}}, {{slice}} and "
                f"{{}}; {hint}".rstrip("; ")
            )
        if named.count(name) > 1:
            raise DataError(f"dataset.names = {template!r}: {{{name}}} is there twice")
    if not named:
        raise DataError(f'dataset.names = {template!r} has no field; write it like "{{case}}_{{slice}}"')
    return "".join(FIELDS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))
