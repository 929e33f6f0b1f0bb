"""The tables of a plan file, and the types of their keys; those of its components are theirs."""

from __future__ import annotations

from gisegkit.registry.annotations import ValueType, parse_annotation

_TABLES: dict[str, dict[str, str]] = {
    "run": {
        "recipe": "str",
        "name": "str",
        "folds": 'Literal["all"] | list[Annotated[int, AtLeast(0)]]',
        "seeds": "list[Annotated[int, AtLeast(0)]]",
        "vary": "dict",
        "combine": 'Literal["cross", "zip"]',
        "set": "dict",
    },
    "ensemble": {
        "runs": "list[str]",
        "weights": "list[Annotated[float, Above(0)]]",
        "greedy": "bool",
        "rounds": "Annotated[int, AtLeast(1)]",
    },
    "gate": {"run": "str", "pixels": "Annotated[int, AtLeast(0)] | dict[str, Annotated[int, AtLeast(0)]]"},
    "tune": {"metric": "str", "only": "list[str]", "apply": 'Literal["if shown", "always", "never"]'},
    "predict": {"part": 'Literal["auto", "unlabelled", "validation", "all"]'},
}
TABLES: dict[str, dict[str, ValueType]] = {
    name: {key: parse_annotation(text) for key, text in keys.items()} for name, keys in _TABLES.items()
}
TOP = ("name", "run", "ensemble", "gate", "tune", "predict", "demo")
