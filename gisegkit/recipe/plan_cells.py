"""The cells of one ``[[run]]``: which values each has, and how its folder is called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gisegkit.recipe.text import value_text


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


def short_key(key: str) -> str:
    """The last word of a key: ``lr`` of ``optimizer.lr``; ``""`` where a text says enough."""
    last = key.rpartition(".")[2]
    return "" if last in ("name", "average") else last


def word_of(value: Any) -> str:
    """A value as a part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", value_text(value)).strip("_")
