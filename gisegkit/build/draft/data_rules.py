"""What a recipe should say of its data: input, normalization, split. Each rule is in docs/init.md, with its source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gisegkit.build.draft.facts import Facts
from gisegkit.errors import count

STEP = 32
"""Sides are multiples of it: an encoder halves an image five times."""

ROUNDING = 1e-6

ROOM = 1.3
"""A slice may have so many times the pixels that a device is given, before it is shrunk or cropped."""

FINE = 5.0
"""Pixels that the finest structure keeps when slices are shrunk; else they are cropped."""

KEPT = 6.0
LEAST = 96
"""Pixels of the finest structure and of a square that are left on a slow device, where fewer pixels make more steps."""

FAR = 2
"""Largest distance of neighbors that are channels."""

WITH_NEIGHBORS = 0.8
"""Share of the slices that must have a neighbor."""

FOLDS = 5
CROPS = 8
"""Most crops of a slice in an epoch."""

AIR = (-1100, -900)
"""Hounsfield units of the darkest voxels of a CT: air is -1000, and -1024 is the lowest that scanners store."""

TOP = 8000
"""Hounsfield units that even metal does not exceed in 12 bits or extended scales of a CT converted to slices."""

DARK = 128
"""Largest value of 8-bit images that use less than half of what 8 bits hold."""

UNEVEN = 1.5
"""Ratio of bright to dark slices from which exposures differ."""


class Part(NamedTuple):
    """A table of a recipe.

    Attributes:
        table: its name.
        values: its keys.
        why: the reasons, a comment line each.
    """

    table: str
    values: Mapping[str, Any]
    why: tuple[str, ...] = ()


class Size(NamedTuple):
    """What the network sees of a slice, in pixels."""

    height: int
    width: int
    crops: int


def _sides(height: float, width: float) -> tuple[int, int]:
    """The nearest multiples of STEP."""
    return max(STEP, round(height / STEP) * STEP), max(STEP, round(width / STEP) * STEP)


def choose_input(facts: Facts, *, side: int, crop: int, quick: bool = False) -> Part:
    """``[input]``: whole slices at their size, shrunk, or crops; neighbors as channels.

    Args:
        side: pixels of a square that the device can train on quickly.
        crop: side of a crop in pixels.
        quick: shrink slices as far as their finest structure allows, because the device is slow.
    """
    height, width = facts.size
    area = height * width
    mixed = "" if facts.sizes[0] == facts.sizes[1] else ", the median"
    native = f"Slices have {height} x {width} pixels (height x width{mixed})"
    values: dict[str, Any]
    factor = 1.0 if area <= ROOM * side**2 else side / math.sqrt(area)
    if quick:
        factor = min(factor, max(KEPT / facts.thinnest, LEAST / math.sqrt(area)))
    if factor == 1:
        values = {"size": list(_sides(height, width))}
        why = [f"{native}: the network sees whole slices, with sides that can be halved five times."]
    elif facts.thinnest * factor >= FINE:
        values = {"size": [math.ceil(length * factor / STEP - ROUNDING) * STEP for length in (height, width)]}
        why = [
            f"{native}, more than this device trains on quickly. Shrunk to {factor:.0%}, the finest structure is still "
            f"{facts.thinnest * factor:.0f} pixels wide."
        ]
    else:
        values, why = _crops(facts, side=side, crop=crop, native=native)
    if facts.stretch > 1.1 and "mode" not in values:
        values["resize"] = "fit"
        why.append("Slices have different shapes, so they are padded instead of stretched.")
    neighbors, reason = _neighbors(facts)
    return Part("input", values | neighbors, (*why, reason))


def _crops(facts: Facts, *, side: int, crop: int, native: str) -> tuple[dict[str, Any], list[str]]:
    height, width = facts.size
    scale = 1.0
    while facts.thinnest * scale / 2 >= 2 * FINE:
        scale /= 2
    size = [min(crop, *_sides(height * scale, width * scale))] * 2
    crops = min(CROPS, math.ceil(height * width * scale**2 / size[0] ** 2))
    values = {"mode": "crop", "size": size, "crops": crops} | ({"scale": scale} if scale < 1 else {})
    factor = side / math.sqrt(height * width)
    why = [
        f"{native}. Shrunk to {factor:.0%}, as this device needs, the finest structure, {facts.thinnest:.0f} pixels "
        f"wide, would keep {facts.thinnest * factor:.1f}: crops instead.",
        f"{count(crops, 'crop')} of a slice in an epoch cover about as much as the slice, {CROPS} at most.",
    ]
    return values, why


def _neighbors(facts: Facts) -> tuple[dict[str, Any], str]:
    if not facts.step:
        return {}, "No scan has two slices, so the input is one slice (2D)."
    if facts.step > FAR:
        return {}, f"Slices of a scan are {facts.step} positions apart: too far to be channels, so the input is 2D."
    if facts.neighbors < WITH_NEIGHBORS:
        return {}, f"Only {facts.neighbors:.0%} of the slices have a neighbor, so the input is one slice (2D)."
    if facts.channels > 1:
        return {}, "Images are in color, so the input is one slice (2D)."
    stride = {"stride": facts.step} if facts.step > 1 else {}
    return {"slices": 3, **stride}, f"{facts.neighbors:.0%} of the slices have neighbors, which are channels (2.5D)."


def choose_normalization(facts: Facts) -> Part:
    """``[normalization]``: by type and range of the values."""
    over = "scan" if facts.step else "slice"
    seen = f"Images are {facts.dtype} with values from {facts.low:g} to {facts.high:g}"
    if is_ct(facts):
        level, width = window(facts)
        reason = (
            f"{seen}: Hounsfield units of a CT, as it seems. The window holds what the classes hold "
            f"({facts.inside[0]:.0f} to {facts.inside[1]:.0f}) and half as much on both sides."
        )
        return Part("normalization", {"name": "window", "level": level, "width": width}, (reason,))
    if facts.dtype == "uint8":
        if facts.high < DARK:
            reason = f"{seen}, a small part of their type: percentiles of each {over} are mapped to 0 and 1."
            return Part("normalization", {"name": "percentile", "over": over}, (reason,))
        if facts.exposure >= UNEVEN:
            reason = f"{seen}; bright slices are {facts.exposure:.1f} times as bright as dark ones."
            return Part("normalization", {"name": "percentile", "over": over}, (reason,))
        return Part("normalization", {"name": "dtype"}, (f"{seen}, alike in all slices: divided by 255.",))
    if facts.dtype.startswith("float") and facts.low >= 0 and facts.high <= 1 and facts.high > 0.5:
        return Part("normalization", {"name": "dtype"}, (f"{seen}: normalized already, and left as they are.",))
    below = ", some below zero" if facts.low < 0 else ""
    reason = f"{seen}{below}, without a fixed unit as in MR: percentiles of each {over} are mapped to 0 and 1."
    return Part("normalization", {"name": "percentile", "over": over}, (reason,))


def is_ct(facts: Facts) -> bool:
    """Whether values look like Hounsfield units, the lowest of which is air; of a resampled CT they are not whole."""
    return AIR[0] <= facts.low <= AIR[1] and facts.high <= TOP


def window(facts: Facts) -> tuple[float, float]:
    """Level and width: what the classes hold, and half as much on both sides."""
    low, high = facts.inside
    return float(round((low + high) / 2)), float(max(round(2 * (high - low)), 100))


def choose_split(facts: Facts) -> tuple[Part, tuple[str, ...]]:
    """``[split]`` and what has to be told: a fold a case, five at most; no folds where the data give the split."""
    if facts.given is not None:
        numbers = "{} slices train, {} validate".format(*facts.given)
        return Part("split", {}, (f"The table's column split says what each slice does: {numbers}.",)), ()
    if facts.cases >= 2:
        folds = min(FOLDS, facts.cases)
        few = f"; more than {facts.cases} folds are not possible" if folds < FOLDS else ""
        return Part("split", {"folds": folds}, (f"{facts.cases} cases, each on one side of the split{few}.",)), ()
    group = "scan" if facts.scans >= 2 else "slice"
    number = facts.scans if facts.scans >= 2 else facts.labelled
    if number < 2:
        told = "there is one labelled slice, which trains and validates; its score says nothing about other slices"
        return Part("split", {"folds": 1}, ("One slice cannot be split.",)), (told,)
    told = f"all slices are of one case, so {group}s of it train and validate; other cases will score lower"
    why = f"One case cannot be split, so its {group}s are: scores will be too good."
    return Part("split", {"folds": min(FOLDS, number), "group": group}, (why,)), (told,)
