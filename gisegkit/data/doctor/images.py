"""Images that are no pictures, and images that differ from the others of their set in depth or channels."""

from __future__ import annotations

from collections.abc import Iterator

from gisegkit.data.doctor.facts import LEAST
from gisegkit.data.doctor.seen import Seen
from gisegkit.errors import Finding, count

NOISE = 0.1
"""Correlation of neighboring pixels below which an image is doubted. Independent noise has 0, give or take one over the
root of the number of pixels (0.03 for 32 x 32); the least of all slices of MR, of nuclei and of electron microscopy
that were looked at is 0.77."""


def image_findings(seen: Seen) -> Iterator[Finding]:
    """Black, constant and noisy images; depths and channels that differ."""
    yield from _flat(seen)
    for row, facts in seen.facts.items():
        if facts.smooth < NOISE and min(seen.sizes[row]) >= LEAST:
            what = f"neighboring pixels have a correlation of {max(facts.smooth, 0):.2f}, as in noise"
            yield Finding("noise", "warning", seen.ids[row], what, "look at the image", (seen.ids[row],))
    channels = {row: facts.channels for row, facts in seen.facts.items()}
    for finding in _odd_ones(seen, channels):
        what = f"{finding.what}; a network has one number of channels"
        yield Finding("channels", "error", finding.place, what, "make all grey or all color", finding.ids)
    for finding in _odd_ones(seen, {row: facts.dtype for row, facts in seen.facts.items()}):
        remedy = "bring all to one depth: the same value would mean another intensity"
        yield Finding("depth", "warning", finding.place, finding.what, remedy, finding.ids)


def _flat(seen: Seen) -> Iterator[Finding]:
    for row, facts in seen.facts.items():
        if not facts.constant:
            continue
        name = seen.ids[row]
        what = "the image is black" if facts.high == 0 else f"all pixels of the image have the value {facts.high:g}"
        if seen.with_class(row):
            remedy = "copy the image again, or leave it out"
            yield Finding("mask on a constant image", "error", name, f"{what}, and it has a mask", remedy, (name,))
        else:
            kind = "black image" if facts.high == 0 else "constant image"
            yield Finding(kind, "warning", name, what, "copy it again, if it should show something", (name,))


def _odd_ones(seen: Seen, values: dict[int, object] | dict[int, int] | dict[int, str]) -> Iterator[Finding]:
    """A finding for each value that is not the most frequent one."""
    rows: dict[object, list[int]] = {}
    for row, value in values.items():
        rows.setdefault(value, []).append(row)
    if len(rows) < 2:
        return
    usual = max(rows, key=lambda value: len(rows[value]))
    words = {value: f"{value} channel{'s' * (value != 1)}" if isinstance(value, int) else str(value) for value in rows}
    for value, those in rows.items():
        if value != usual:
            ids = tuple(seen.ids[row] for row in those)
            what = f"{count(len(ids), 'image has', 'images have')} {words[value]}, {len(rows[usual])} {words[usual]}"
            yield Finding("", "warning", ", ".join(ids[:3]) + " ..." * (len(ids) > 3), what, ids=ids)
