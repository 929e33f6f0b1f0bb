"""What a data set's table tells without reading a file: gaps, spacing, and how cases lie in the split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.errors import Finding, count, listed
from gisegkit.types import SPACING

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 4
"""Slices of a scan from which gaps in its numbers are looked for."""

FAR = 5.0
"""Times the usual spacing from which another scan's is doubted: mm and cm, or pixels and mm, are mixed up."""


def table_findings(table: pd.DataFrame, *, left_out: Mapping[str, set[int]] | None = None) -> Iterator[Finding]:
    """Gaps in the numbers of scans, cases that may be one, and spacing that differs.

    Args:
        table: a dataset's.
        left_out: by scan, numbers of slices that are left out on purpose.
    """
    yield from _gaps(table, left_out or {})
    yield from _similar_cases(table)
    yield from _spacing(table)


def _gaps(table: pd.DataFrame, left_out: Mapping[str, set[int]]) -> Iterator[Finding]:
    for scan, positions in table.groupby("scan", sort=False)["position"]:
        numbers = sorted({*positions.tolist(), *left_out.get(str(scan), ())})
        missing = missing_numbers(numbers)
        if missing:
            ends = f"{numbers[0]} to {numbers[-1]}"
            what = f"slices {ends}, without {listed(missing)}"
            remedy = "copy what is missing; a stack of neighbors has a gap there"
            yield Finding("missing slice numbers", "warning", str(scan), what, remedy)


def missing_numbers(numbers: list[int]) -> list[int]:
    """The numbers that are missing in a row of them, where it has one step but for a few gaps; else none.

    Every second or every tenth slice is no gap, and neither is a choice of slices.
    """
    if len(numbers) < ENOUGH:
        return []
    steps = np.diff(numbers)
    step = int(steps.min())
    if (steps % step).any() or (steps == step).mean() < 0.75:
        return []
    there = set(numbers)
    return [number for number in range(numbers[0], numbers[-1], step) if number not in there]


def _similar_cases(table: pd.DataFrame) -> Iterator[Finding]:
    """Cases whose names differ in capitals, blanks or leading zeros alone, unless all of them are single slices."""
    alike: dict[str, list[str]] = {}
    slices = Counter(table["case"].astype(str))
    for case in slices:
        key = re.sub(r"0*(\d+)", r"\1", "".join(case.casefold().split()))
        alike.setdefault(key, []).append(case)
    for cases in alike.values():
        if len(cases) > 1 and any(slices[case] > 1 for case in cases):
            what = "these cases differ in capitals, blanks or leading zeros alone"
            remedy = "give a patient one name, or it may be on both sides of the split"
            yield Finding("cases that may be one", "warning", " and ".join(map(repr, cases)), what, remedy)


def _spacing(table: pd.DataFrame) -> Iterator[Finding]:
    columns = [column for column in SPACING if column in table.columns]
    if not columns:
        return
    by_scan = table.groupby("scan", sort=False)[columns]
    mixed = by_scan.nunique().max(axis=1) > 1
    for scan in mixed.index[mixed]:
        rows = table[table["scan"] == scan]
        kinds = Counter(tuple(values) for values in rows[columns].itertuples(index=False, name=None))
        usual = kinds.most_common(1)[0][0]
        odd = rows[[tuple(values) != usual for values in rows[columns].itertuples(index=False, name=None)]]
        shown = " and ".join(_mm(values) for values in kinds)
        what = f"slices of one scan have the spacing {shown} mm; first: {odd['id'].iloc[0]}"
        remedy = "repair the names or the table; a scan has one spacing"
        yield Finding("spacing within a scan", "warning", str(scan), what, remedy)
    first = by_scan.first()
    usual_mm = first.median()
    for column in columns:
        ratio = first[column] / usual_mm[column]
        for scan in first.index[(ratio >= FAR) | (ratio <= 1 / FAR)]:
            what = f"{column} is {first.loc[scan, column]:g} mm, and {usual_mm[column]:g} in most scans"
            yield Finding("spacing", "warning", str(scan), what, "see whether it is in mm, as the others")


def _mm(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def split_findings(table: pd.DataFrame, parts: Mapping[int, str], *, given: bool = False) -> Iterator[Finding]:
    """Cases that lie on both sides of the split.

    Args:
        table: a dataset's.
        parts: ``train``, ``validation`` or ``test`` by row; rows that are on both sides by intent are left out.
        given: whether the data themselves say what trains.
    """
    sides: dict[str, set[str]] = {}
    cases = table["case"].astype(str).tolist()
    for row, part in parts.items():
        sides.setdefault(cases[row], set()).add(part)
    torn = [case for case, found in sides.items() if len(found) > 1]
    if torn:
        what = f"{count(len(torn), 'case is', 'cases are')} on both sides of the split: {listed(torn)}"
        ways = "give all slices of a case one word in the column split", 'split.group = "case" keeps cases together'
        remedy = f"scores are too good then; {ways[0] if given else ways[1]}"
        yield Finding("case on both sides", "warning", "split", what, remedy)
