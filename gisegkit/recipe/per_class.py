"""A value for each class, as a recipe gives it: one number for all, or a table by the names of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from gisegkit.errors import DataError, did_you_mean
from gisegkit.registry.annotations import show

DEFAULT = "default"
"""The key of the classes that a table does not name."""

V = TypeVar("V")


def per_class(value: V | Mapping[str, V], classes: Sequence[str], *, key: str) -> tuple[V, ...]:
    """The values of the classes, in their order.

    Args:
        value: of every class, or a table ``{ stomach = 0.4, default = 0.5 }``.
        classes: of the data. One that is itself called ``default`` is meant by that key.
        key: of the recipe, for the message: ``evaluate.threshold``.

    Raises:
        DataError: if the table names a class that the data do not have, or leaves one out without a default.
    """
    if not isinstance(value, Mapping):
        return (value,) * len(classes)
    there = ", ".join(classes)
    for name in value:
        if name != DEFAULT and name not in classes:
            near = did_you_mean(name, classes)
            raise DataError(f"{key} = {show(value)}: the data have no class {name!r}; {near or f'there are: {there}'}")
    default_for_all = DEFAULT in value and DEFAULT not in classes
    missing = [name for name in classes if name not in value and not default_for_all]
    if missing:
        names = ", ".join(map(repr, missing))
        raise DataError(f"{key} = {show(value)} has no value for {names}; add it, or {DEFAULT} = ... for all others")
    return tuple(value[name] if name in value else value[DEFAULT] for name in classes)
