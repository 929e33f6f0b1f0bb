"""Named lists of the competition's scans that are known to be bad."""

from __future__ import annotations

import re

from gisegkit.errors import DataError, did_you_mean

SCAN = re.compile(r"(case\d+)_day\d+")

STANDARD = ("case7_day0", "case81_day30")
EXCLUSIONS: dict[str, tuple[str, ...]] = {
    "standard": STANDARD,
    "third_place": (*STANDARD, "case138_day0", "case43_day18", "case43_day26"),
    "host": (
        *STANDARD, "case138_day0", "case43_day18", "case43_day26", "case61_day14", "case9_day27", "case34_day20",
        "case124_day19", "case144_day15", "case83_day11", "case13_day0",
    ),
    "none": (),
}  # fmt: skip
"""Scans with known faults in their annotations: the two that nearly every solution leaves out, those that the third
place left out, and the organizers' own list."""


def excluded_scans(exclude: str | list[str]) -> dict[str, str]:
    """The scans to leave out, each with the reason; a list's name or the scans themselves.

    Raises:
        DataError: if there is no list of that name, or an entry is no scan.
    """
    if isinstance(exclude, str):
        if exclude not in EXCLUSIONS:
            raise DataError(
                f"dataset.exclude = {exclude!r}: valid is {', '.join(EXCLUSIONS)} or a list of scans such as "
                f'["case7_day0"]; {did_you_mean(exclude, EXCLUSIONS)}'.rstrip("; ")
            )
        return {scan: f"list {exclude!r}: scan {scan}, known faults in its annotation" for scan in EXCLUSIONS[exclude]}
    for scan in exclude:
        if not SCAN.fullmatch(scan):
            raise DataError(f"dataset.exclude: {scan!r} is no scan; write case and day, such as 'case7_day0'")
    return {scan: f"named in dataset.exclude: scan {scan}" for scan in exclude}
