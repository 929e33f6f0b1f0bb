"""Keys of a recipe as a plan file writes them: quoted, dotted or with indices, each with its value and its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gisegkit.recipe.sections import SECTIONS
from gisegkit.recipe.text import Document
from gisegkit.recipe.text import Path as Keys
from gisegkit.registry.kinds import KINDS


def keys_of(document: Document, table: Mapping[str, Any], path: Keys) -> dict[str, tuple[Any, str]]:
    """Keys such as ``train.epochs``, quoted or not, with their values and places.

    Args:
        path: of the table in the document.
    """
    found: dict[str, tuple[Any, str]] = {}
    for key, value in table.items():
        inner = "." not in key and (key in SECTIONS or key in KINDS) and isinstance(value, dict)
        for name, one in _flat(key, value).items() if inner else [(key, value)]:
            found[name] = (one, document.place((*path, key)))
    return found


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
