"""In which keys two filled recipes differ, key by key, in words."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gisegkit.registry.annotations import show
from gisegkit.registry.kinds import KINDS

COMPONENT = re.compile(r"([a-z_]+)(?:\.\d+)?")
"""The key of a component's table: model, loss.0."""


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Any = _Absent()
"""Stands for a key that one of two recipes does not have."""


@dataclass(frozen=True)
class Difference:
    """One key in which two recipes differ.

    Attributes:
        key: as ``--set`` takes it, ``optimizer.lr``; of a component that one recipe lacks, that of its whole table.
        first, other: the two values; ABSENT where a recipe lacks the key.
    """

    key: str
    first: Any
    other: Any

    def __str__(self) -> str:
        return f"{self.key}: {_words(self.first)} -> {_words(self.other)}"


def differences(
    first: Mapping[str, Any], other: Mapping[str, Any], *, without: Collection[str] = ()
) -> list[Difference]:
    """The keys in which two filled recipes differ, in the order of the first.

    The parameters of two components of different names mean different things, so that of those only the names, and the
    keys that every component has, are compared.

    Args:
        first, other: as ``Recipe.as_dict`` gives them.
        without: keys (``train.workers``) that are not compared.
    """
    return [item for item in _walk(first, other, "") if item.key not in without]


def _walk(first: Any, other: Any, key: str) -> list[Difference]:
    if isinstance(first, Mapping) and isinstance(other, Mapping):
        keys = list({**first, **other})
        table = COMPONENT.fullmatch(key)
        if table and "name" in keys and first.get("name") != other.get("name"):
            common = KINDS[table[1]].keys if table[1] in KINDS else {}  # what means the same whatever the name is
            keys = [name for name in keys if name == "name" or name in common]
        return [
            found
            for name in keys
            for found in _walk(first.get(name, ABSENT), other.get(name, ABSENT), f"{key}.{name}" if key else name)
        ]
    if any(map(_is_tables, (first, other))) and all(_is_tables(side) or side is ABSENT for side in (first, other)):
        sides = [[] if side is ABSENT else side for side in (first, other)]
        longest = max(map(len, sides))
        padded = [[*side, *[ABSENT] * (longest - len(side))] for side in sides]
        pairs = enumerate(zip(*padded, strict=True))
        return [item for index, pair in pairs for item in _walk(pair[0], pair[1], f"{key}.{index}")]
    return [] if _plain(first) == _plain(other) else [Difference(key, first, other)]


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _plain(value: Any) -> Any:
    """The value as TOML gives it back: a tuple as a list."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _words(value: Any) -> str:
    if value is ABSENT:
        return "none"
    if isinstance(value, Mapping) and "name" in value:
        inner = ", ".join(f"{key} = {show(item)}" for key, item in value.items() if key != "name")
        return f"{value['name']} ({inner})" if inner else str(value["name"])
    return show(value)


def fingerprint(*parts: object) -> str:
    """Eight letters and digits that stand for the parts, the same for equal ones; names a folder."""
    text = json.dumps([_described(part) for part in parts], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _described(part: object) -> object:
    if isinstance(part, Sequence) and not isinstance(part, str):
        return [_described(item) for item in part]
    return [part.key, repr(part.other)] if isinstance(part, Difference) else part
