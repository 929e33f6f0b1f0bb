"""Masks that look like mistakes: classes that never occur, that cover most of the set, or that are drawn twice."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from gisegkit.data.doctor.seen import Seen
from gisegkit.errors import Finding, Severity, count, listed

MOST, FRAMED = 0.85, 0.5
"""Share of all pixels from which a class is doubted to be drawn the other way round: always, and where it also takes
the whole outline of the slices. Objects are drawn inside an image; their complement is all around. Cells between
membranes take 0.78 of an electron micrograph and 0.8 of its outline, and are meant so."""

OUTLINE = 0.98
"""Share of a slice's outermost pixels that counts as the whole outline."""

FILLED = 0.999
"""Share of a slice from which a class fills it."""


def label_findings(seen: Seen) -> Iterator[Finding]:
    """What is doubtful in the masks of the slices that were read."""
    rows = [row for row, facts in seen.facts.items() if facts.pixels is not None]
    if not rows:
        return
    for k, name in enumerate(seen.classes):
        with_it = [row for row in rows if seen.facts[row].pixels[k]]  # type: ignore[index]
        if with_it:
            yield from _too_much(seen, rows, with_it, k, name)
            yield from _one_side(seen, with_it, rows, name)
        else:
            what = f"it is in none of {count(len(rows), 'labelled slice')}"
            remedy = "see what the masks hold; take it out of the classes if there is none"
            yield Finding("class that never occurs", "warning", name, what, remedy)
    yield from _twins(seen, rows)


def _share(seen: Seen, row: int, k: int) -> float:
    height, width = seen.sizes[row]
    return (seen.facts[row].pixels or [0] * (k + 1))[k] / (height * width)


def _too_much(seen: Seen, rows: list[int], with_it: list[int], k: int, name: str) -> Iterator[Finding]:
    """A class that covers most of the set, or that fills or seems inverted in single slices of it."""
    shares = {row: _share(seen, row, k) for row in with_it}
    outlines = {row: seen.facts[row].border[k] for row in with_it}
    share = sum(shares.values()) / len(rows)
    framed = median(outlines.values()) >= OUTLINE
    remedy = "look at a mask (giseg show): is the background drawn in place of the class?"
    if share > MOST or (share > FRAMED and framed):
        around = ", all around their outlines" if framed else ""
        what = f"it covers {share:.0%} of all pixels of {count(len(rows), 'labelled slice')}{around}"
        yield Finding("class that covers most", "warning", name, what, remedy)
        return
    usual = median(shares.values())
    for row, own in shares.items():
        place, own_id = f"{seen.ids[row]}, {name}", (seen.ids[row],)
        if own >= FILLED:
            yield Finding("class that fills a slice", "warning", place, "it takes every pixel", remedy, own_id)
        elif own > FRAMED and outlines[row] >= OUTLINE and usual < FRAMED / 2:
            what = f"it takes {own:.0%} of the slice, all around its outline; in others {usual:.0%}"
            yield Finding("inverted mask", "warning", place, what, remedy, own_id)


def _one_side(seen: Seen, with_it: list[int], rows: list[int], name: str) -> Iterator[Finding]:
    """A class that only one side of the split has."""
    for part, what in (("train", "it cannot be learned"), ("validation", "its scores say nothing")):
        if any(part in seen.parts.get(row, "") for row in rows) and not any(
            part in seen.parts.get(row, "") for row in with_it
        ):
            side = "training" if part == "train" else part
            remedy = "take another fold or another split.seed"
            found = f"it is in {count(len(with_it), 'slice')}, none of them for {side}; {what}"
            yield Finding("class on one side of the split", "warning", name, found, remedy)


def _twins(seen: Seen, rows: list[int]) -> Iterator[Finding]:
    pairs: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        for a, b in seen.facts[row].twins:
            pairs.setdefault((a, b), []).append(row)
    for (a, b), same in pairs.items():
        with_either = [row for row in rows if any((seen.facts[row].pixels or [])[k] for k in (a, b))]
        everywhere = len(same) == len(with_either) > 1
        names = f"{seen.classes[a]} and {seen.classes[b]}"
        ids = tuple(seen.ids[row] for row in same)
        where = "every slice that has one of them" if everywhere else f"{len(same)} of {len(with_either)} slices"
        what = f"the masks of both are the same in {where}: {listed(ids, shown=3)}"
        severity: Severity = "error" if everywhere else "warning"
        remedy = "draw the masks anew from their source, or leave one class out"
        yield Finding("two classes with one mask", severity, names, what, remedy, () if everywhere else ids)
