"""The same image under two ids: exact copies by the digest of their pixels, near ones by a perceptual hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.doctor.seen import Seen
from gisegkit.errors import Finding, GisegError, Severity, count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.types import MaskArray

WHOLE = 3
"""Slices that two scans must share to be called copies of each other, besides half of the smaller one."""

COMPARED = 20
"""Copies whose masks are compared: two masks are read for each."""

NEAR, PART = 15, 8
"""Bits of 256 in which two near copies differ at most, and never more than one in 8 of those that are set in either.
Different images of all sets that were looked at differ in 60 bits or more."""

LEAST_BITS = 16
"""Bits that must be set in either hash: an image that is dark but for a spot has too few to be told apart by."""

BESIDE = 48
"""Entries that are looked at after each one in a sorted list of hashes, which bounds the time."""

REMEDIES = {
    "error": "leave one out (giseg data --fix), or put both into one case",
    "warning": "leave one out ([dataset] exclusions), or put both into one case",
}
"""By severity; ``--fix`` writes a list of errors."""


def copy_findings(seen: Seen) -> Iterator[Finding]:
    """Exact copies, whole scans that were copied, and near copies across cases."""
    groups = _same(seen)
    scans, copied = _copied_scans(seen, groups)
    yield from scans
    shown = 0
    for rows in groups:
        first, *others = [row for row in rows if row not in copied] or [-1]
        for row in others:
            shown += 1
            yield _copy(seen, first, row, masks=shown <= COMPARED)
    yield from _near_copies(seen)


def _same(seen: Seen) -> list[list[int]]:
    """Rows with the same pixels, of images that show something."""
    by_digest: dict[str, list[int]] = {}
    for row, facts in sorted(seen.facts.items()):
        if not facts.constant:
            by_digest.setdefault(facts.digest, []).append(row)
    return [rows for rows in by_digest.values() if len(rows) > 1]


# --- exact copies ---------------------------------------------------------------------------------------------------


def _copied_scans(seen: Seen, groups: list[list[int]]) -> tuple[list[Finding], set[int]]:
    """A finding for each scan that is a copy of another, and the rows that it explains."""
    shared: Counter[tuple[str, str]] = Counter()
    for rows in groups:
        scans = list(dict.fromkeys(seen.scans[row] for row in rows))
        shared.update(combinations(scans, 2))
    slices = Counter(seen.scans[row] for row, facts in seen.facts.items() if not facts.constant)
    case_of = dict(zip(seen.scans, seen.cases, strict=True))
    found, gone = [], set()
    for (first, second), number in shared.items():
        if number < WHOLE or number < min(slices[first], slices[second]) / 2 or second in gone:
            continue
        gone.add(second)
        rows = [row for row in seen.facts if seen.scans[row] == second]
        others = [row for row in seen.facts if seen.scans[row] == first]
        apart = case_of[first] != case_of[second]
        where = f", which is of case {case_of[first]}, not {case_of[second]}" if apart else ", of the same case"
        what = f"{count(number, 'slice has', 'slices have')} the pixels of scan {first}{where}"
        severity: Severity = _severity(seen, others, rows) if apart else "warning"
        ids = tuple(seen.ids[row] for row in rows)
        found.append(Finding("copied scan", severity, f"scan {second}", what, "remove one of the two scans", ids))
    return found, {row for row in seen.facts if seen.scans[row] in gone}


def _severity(seen: Seen, first: list[int], second: list[int]) -> Severity:
    """Images of two cases may be on both sides of a split; what is never scored spoils no score."""
    labelled = all(any(seen.labelled[row] for row in rows) for rows in (first, second))
    return "error" if labelled else "warning"


def _copy(seen: Seen, first: int, row: int, *, masks: bool) -> Finding:
    a, b = seen.ids[first], seen.ids[row]
    sides = {seen.parts.get(one, "") for one in (first, row)} - {""}
    torn = len(sides) > 1 and not any("+" in side for side in sides)
    if seen.cases[first] != seen.cases[row]:
        kind, between = "same image in two cases", f" (cases {seen.cases[first]} and {seen.cases[row]})"
        if seen.labelled[first] != seen.labelled[row]:
            kind = "same image with and without labels"
        severity = _severity(seen, [first], [row])
    else:
        kind, between = "same image twice", f" (scan {seen.scans[row]})"
        severity = "error" if torn else "warning"
    if torn:
        between += f", {' and '.join(sorted(sides))}"
    told = f"; {_compared(seen, first, row)}" if masks and seen.labelled[first] and seen.labelled[row] else ""
    return Finding(kind, severity, f"{a} and {b}", f"the same pixels{between}{told}", REMEDIES[severity], (b,))


def _compared(seen: Seen, first: int, second: int) -> str:
    """How much the masks of two copies agree: one image, drawn twice."""
    try:
        masks = [seen.mask(row) == 1 for row in (first, second)]
    except GisegError:
        return "a mask cannot be read"
    if masks[0].shape == masks[1].shape and np.array_equal(*masks):
        return "the masks are the same"
    values = [
        f"{name} {dice:.2f}"
        for k, name in enumerate(seen.classes)
        if (dice := _dice(masks[0][..., k], masks[1][..., k])) is not None
    ]
    return f"the masks differ, Dice {', '.join(values)}"


def _dice(a: MaskArray, b: MaskArray) -> float | None:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None


# --- near copies ----------------------------------------------------------------------------------------------------


def _near_copies(seen: Seen) -> Iterator[Finding]:
    """Pairs of scans of different cases that hold images which look alike."""
    rows = np.array([row for row, facts in sorted(seen.facts.items()) if facts.look], dtype=np.int64)
    if len(rows) < 2:
        return
    hashes = np.frombuffer(bytes.fromhex("".join(seen.facts[row].look for row in rows.tolist())), dtype=np.uint8)
    cases = np.unique([seen.cases[row] for row in rows.tolist()], return_inverse=True)[1]
    alike: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for a, b, bits in near_pairs(hashes.reshape(len(rows), -1), cases):
        first, second = int(rows[a]), int(rows[b])
        if seen.facts[first].digest != seen.facts[second].digest:
            alike.setdefault((seen.scans[first], seen.scans[second]), []).append((first, second, bits))
    for (first_scan, second_scan), pairs in alike.items():
        first, second, bits = min(pairs, key=lambda pair: pair[2])
        place = f"{seen.ids[first]} and {seen.ids[second]}"
        many = f"; {len(pairs)} such pairs in the scans {first_scan} and {second_scan}" if len(pairs) > 1 else ""
        what = f"they look alike ({bits} of 256 bits differ), and are of two cases{many}"
        yield Finding("nearly the same image in two cases", "warning", place, what, REMEDIES["warning"])


def near_pairs(hashes: NDArray[np.uint8], cases: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Pairs of different cases whose hashes are near, with the number of bits that differ.

    Two hashes that differ in 15 bits have one of their sixteen words in common at least, and are then near each other
    in one of sixteen sorted lists; so not all pairs are compared. A pair may be missed where more than BESIDE hashes
    share a word.

    Args:
        hashes: ``[N, 32]`` uint8.
        cases: ``[N]``, a number for each case.
    """
    words, wide = hashes.view(np.uint16), hashes.view(np.uint64)
    half = wide[:, ::2].T.copy()
    candidates = np.sort(np.concatenate([_neighbors(words, half, cases, place) for place in range(words.shape[1])]))
    candidates = candidates[np.diff(candidates, prepend=-1) != 0]  # faster than np.unique
    a, b = np.divmod(candidates, len(hashes))
    differ = np.bitwise_count(wide[a] ^ wide[b]).sum(axis=1, dtype=np.int64)
    either = np.bitwise_count(wide[a] | wide[b]).sum(axis=1, dtype=np.int64)
    near = (differ <= np.minimum(NEAR, either // PART)) & (either >= LEAST_BITS)
    yield from zip(a[near].tolist(), b[near].tolist(), differ[near].tolist(), strict=True)


def _neighbors(
    words: NDArray[np.uint16], half: NDArray[np.uint64], cases: NDArray[np.int64], place: int
) -> NDArray[np.int64]:
    """Pairs of different cases that share a word, as one number each: the smaller row times N, plus the larger.

    A word of zeros is an even stripe, which many images share. Pairs that are not near in half of the hash, ``[2, N]``,
    are left out at once.
    """
    number = len(words)
    rows = np.flatnonzero(words[:, place])
    follows = [words[rows, (place + step) % words.shape[1]].astype(np.uint64) for step in range(4)]
    order = rows[np.argsort((follows[0] << 48) | (follows[1] << 32) | (follows[2] << 16) | follows[3])]
    key, case, bits = words[order, place], cases[order], half[:, order]
    found = []
    for step in range(1, min(BESIDE, len(order) - 1) + 1):
        same = key[step:] == key[:-step]
        if not same.any():
            break
        first = np.flatnonzero(same & (case[step:] != case[:-step]))
        differ = np.bitwise_count(bits[:, first] ^ bits[:, first + step]).sum(axis=0, dtype=np.uint8)
        first = first[differ <= NEAR]
        a, b = order[first], order[first + step]
        found.append(np.minimum(a, b) * number + np.maximum(a, b))
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)
