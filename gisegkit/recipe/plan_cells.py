"""The cells of one ``[[run]]``: which values each has, and how its folder is called."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gisegkit.recipe.text import value_text

LONGEST, SHOWN = 200, 100
"""Bytes of a name, and those that are kept of a longer one. Files of 255 are possible almost everywhere."""


def combined(vary: Mapping[str, tuple[Any, str]], combine: str) -> Iterable[dict[str, tuple[Any, str]]]:
    """The settings of each cell; seeds are crossed with everything, so that every setting has all of them."""
    seeds = {key: axis for key, axis in vary.items() if key == "seed"}
    others = {key: axis for key, axis in vary.items() if key != "seed"}
    lists: Sequence[Sequence[Any]] = [values for values, _ in others.values()]
    rows = zip(*lists, strict=True) if combine == "zip" and lists else itertools.product(*lists)
    for row in rows:
        chosen = {key: (value, place) for (key, (_, place)), value in zip(others.items(), row, strict=True)}
        for seed in itertools.product(*(values for values, _ in seeds.values())):
            yield chosen | {key: (value, seeds[key][1]) for key, value in zip(seeds, seed, strict=True)}


def joined_keys(vary: Mapping[str, tuple[Any, str]]) -> list[str]:
    """The axes in which the cells of one setting differ: the seed, and the fold where each cell has one."""
    folds = vary.get("split.fold", ([None], ""))[0]
    return ["seed", *(["split.fold"] if all(type(fold) is int for fold in folds) else [])]


def short_key(key: str) -> str:
    """The last word of a key: ``lr`` of ``optimizer.lr``; ``""`` where a text says enough."""
    last = key.rpartition(".")[2]
    return "" if last in ("name", "average") else last


def short_name(name: str) -> str:
    """A name that a folder and its log can have; a longer one ends in what stands for all of it."""
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name.encode()[:SHOWN].decode(errors='ignore')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def word_of(value: Any) -> str:
    """A value as a part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", value_text(value)).strip("_")
