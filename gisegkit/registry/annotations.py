"""Value types read from annotations, without importing what they annotate.

``parse_annotation`` turns the text of an annotation (``Annotated[float, Between(0, 1)] | None``) into a ValueType that
checks a value from a recipe, converts it (1 to 1.0, list to tuple) and says in words what is valid. Recipe sections
and component parameters share it, so that both give the same messages.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gisegkit.errors import did_you_mean
from gisegkit.types import Above, AtLeast, Between

BOUNDS: dict[str, Callable[..., Between | AtLeast | Above]] = {"Between": Between, "AtLeast": AtLeast, "Above": Above}


@dataclass(frozen=True)
class ValueType:
    """A type that a recipe's value can be checked against.

    Attributes:
        text: what is valid, in words: ``a number between 0 and 1``.
        convert: gives the checked and converted value; raises ValueError with a remedy (or an empty message).
    """

    text: str
    convert: Callable[[Any], Any]


def parse_annotation(node: ast.expr | str | None) -> ValueType:
    """The ValueType of an annotation; one that accepts anything where the annotation is missing or not understood."""
    if isinstance(node, str):
        try:
            node = ast.parse(node, mode="eval").body
        except SyntaxError:
            return ANYTHING
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return parse_annotation(node.value)
    if isinstance(node, ast.Constant) and node.value is None:
        return ValueType("nothing", _none)
    if isinstance(node, ast.Name):
        return SIMPLE.get(node.id, ANYTHING)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([parse_annotation(node.left), parse_annotation(node.right)])
    if isinstance(node, ast.Subscript):
        return _subscript(_last_name(node.value), node.slice)
    return ANYTHING


def show(value: Any) -> str:
    """A value as TOML would write it, shortened for a message."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(show(item) for item in value) + "]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = {show(item)}" for key, item in value.items()) + "}"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _subscript(base: str, inner: ast.expr) -> ValueType:
    arguments = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if base in ("list", "List", "Sequence", "Iterable"):
        return _list_of(parse_annotation(arguments[0]))
    if base in ("tuple", "Tuple"):
        if len(arguments) == 2 and isinstance(arguments[1], ast.Constant) and arguments[1].value is ...:
            return _list_of(parse_annotation(arguments[0]), as_tuple=True)
        return _tuple_of([parse_annotation(argument) for argument in arguments])
    if base in ("dict", "Dict", "Mapping") and len(arguments) == 2:
        return _table_of(parse_annotation(arguments[1]))
    if base == "Literal":
        options = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
        return _literal(options) if len(options) == len(arguments) else ANYTHING
    if base == "Annotated":
        return _bounded(parse_annotation(arguments[0]), arguments[1:])
    if base == "Optional":
        return _union([parse_annotation(arguments[0]), ValueType("nothing", _none)])
    if base == "Union":
        return _union([parse_annotation(argument) for argument in arguments])
    return ANYTHING


def _none(value: Any) -> None:
    if value is not None:
        raise ValueError


def _of(kind: type) -> Callable[[Any], Any]:
    """Takes values of one type; true and false are no whole numbers."""

    def convert(value: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError
        return value

    return convert


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    try:
        number = float(value)
    except OverflowError:
        raise ValueError from None
    if not math.isfinite(number):
        raise ValueError("It must be finite.")
    return number


ANYTHING = ValueType("any value", lambda value: list(value) if isinstance(value, tuple) else value)
SIMPLE = {
    "bool": ValueType("true or false", _of(bool)),
    "int": ValueType("a whole number", _of(int)),
    "float": ValueType("a number", _float),
    "str": ValueType('a text in "quotes"', _of(str)),
    "Path": ValueType('a path in "quotes"', _of(str)),
    "None": ValueType("nothing", _none),
    "list": ValueType("a list", _of(list)),
    "dict": ValueType("a table", _of(dict)),
}


def _list_of(item: ValueType, *, as_tuple: bool = False) -> ValueType:
    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError
        items = [item.convert(element) for element in value]
        return tuple(items) if as_tuple else items

    return ValueType(f"a list, each {item.text}", convert)


def _tuple_of(items: list[ValueType]) -> ValueType:
    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(items):
            raise ValueError
        return tuple(item.convert(element) for item, element in zip(items, value, strict=True))

    texts = [item.text for item in items]
    each = f"each {texts[0]}" if len(set(texts)) == 1 else ", ".join(texts)
    return ValueType(f"a list of {len(items)}, {each}", convert)


def _table_of(item: ValueType) -> ValueType:
    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError
        return {str(key): item.convert(element) for key, element in value.items()}

    return ValueType(f"a table {{name = value}}, each value {item.text}", convert)


def _literal(options: list[Any]) -> ValueType:
    def convert(value: Any) -> Any:
        for option in options:
            if option == value and type(option) is type(value):
                return option
        if isinstance(value, str):
            raise ValueError(did_you_mean(value, [option for option in options if isinstance(option, str)]))
        raise ValueError

    return ValueType("one of " + ", ".join(show(option) for option in options), convert)


def _bounded(inner: ValueType, nodes: list[ast.expr]) -> ValueType:
    bounds = [bound for bound in map(_bound, nodes) if bound is not None]

    def convert(value: Any) -> Any:
        converted = inner.convert(value)
        if isinstance(converted, int | float) and not all(bound.holds(converted) for bound in bounds):
            raise ValueError
        return converted

    return ValueType(" ".join([inner.text, *map(str, bounds)]), convert)


def _bound(node: ast.expr) -> Between | AtLeast | Above | None:
    """The bound that an ``Annotated`` holds; None for anything else, or where its limits are no literals."""
    if not isinstance(node, ast.Call) or _last_name(node.func) not in BOUNDS:
        return None
    try:
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
        return BOUNDS[_last_name(node.func)](*map(ast.literal_eval, node.args), **named)
    except (TypeError, ValueError):
        return None


def _union(options: list[ValueType]) -> ValueType:
    def convert(value: Any) -> Any:
        hints = []
        for option in options:
            try:
                return option.convert(value)
            except ValueError as error:
                hints.append(str(error))
        raise ValueError(next(filter(None, hints), ""))

    return ValueType(" or ".join(option.text for option in options if option.text != "nothing"), convert)
