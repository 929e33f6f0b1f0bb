"""Keys of a recipe as a plan file writes them: quoted, dotted or with indices, each with its value and its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gisegkit.recipe.sections import SECTIONS
from gisegkit.recipe.text import Document
from gisegkit.recipe.text import Path as Keys
from gisegkit.registry.kinds import KINDS


def keys_of(
    document: Document, table: Mapping[str, Any], path: Keys, *, tables: bool = False
) -> dict[str, tuple[Any, str]]:
    """Keys such as ``train.epochs``, quoted or not, with their values and places.

    Args:
        path: of the table in the document.
        tables: whether every value is a table, as in ``[search.space]``: ``{choice = [...]}`` is the value of its key.
    """
    return {name: (value, document.place((*path, key))) for key, name, value in _named(table, tables=tables)}


def twice(table: Mapping[str, Any], *, tables: bool = False) -> list[str]:
    """Keys that a table gives twice, once quoted and once dotted; ``tables`` as of ``keys_of``."""
    names = [name for _, name, _ in _named(table, tables=tables)]
    return sorted({name for name in names if names.count(name) > 1})


def replaced(keys: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs (key, later) of which the later one replaces the key and all that it says; ``keys`` as they apply.

    ``loss`` after ``loss.0.weight`` does; ``loss.0.weight`` after ``loss`` changes what that says.
    """
    return [
        (key, later) for at, key in enumerate(keys) for later in keys[at + 1 :] if f"{key}.".startswith(f"{later}.")
    ]


def _named(table: Mapping[str, Any], *, tables: bool) -> Iterator[tuple[str, str, Any]]:
    """(key as the table has it, key of the recipe, value)."""
    for key, value in table.items():
        inner = "." not in key and (key in SECTIONS or key in KINDS) and isinstance(value, dict)
        inner = inner and not (tables and any(not isinstance(one, dict) for one in value.values()))
        for name, one in _flat(key, value).items() if inner else [(key, value)]:
            yield key, name, one


def _flat(key: str, value: Any) -> dict[str, Any]:
    """``{train = {epochs = 3}}`` as ``train.epochs``; through indices of lists, and no further."""
    found: dict[str, Any] = {}
    for inner, one in value.items():
        name = f"{key}.{inner}"
        if inner.isdecimal() and isinstance(one, dict):
            found |= _flat(name, one)
        else:
            found[name] = one
    return found
