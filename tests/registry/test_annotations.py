"""Annotations as checks: every form, what each takes and refuses, and the words for what is valid."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gisegkit.registry.annotations import parse_annotation, show
from gisegkit.types import Above, AtLeast, Between


def taken(annotation: str, value: Any) -> Any:
    return parse_annotation(annotation).convert(value)


def refused(annotation: str, value: Any) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_annotation(annotation).convert(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("bool", True, True),
        ("int", 3, 3),
        ("float", 3, 3.0),
        ("float", 0.5, 0.5),
        ("str", "x", "x"),
        ("Path", "a/b", "a/b"),
        ("list", [1, "x"], [1, "x"]),
        ("dict", {"a": 1}, {"a": 1}),
        ("list[float]", [1, 2.5], [1.0, 2.5]),
        ("List[int]", [], []),
        ("Sequence[str]", ["a"], ["a"]),
        ("tuple[int, int]", [3, 4], (3, 4)),
        ("tuple[int, str]", [3, "x"], (3, "x")),
        ("tuple[int, ...]", [1, 2, 3], (1, 2, 3)),
        ("dict[str, float]", {"a": 1}, {"a": 1.0}),
        ("Mapping[str, list[int]]", {"a": [1]}, {"a": [1]}),
        ('Literal["a", "b"]', "b", "b"),
        ("Literal[1, 2]", 2, 2),
        ("Optional[int]", 4, 4),
        ("Optional[int]", None, None),
        ("Union[int, str]", "x", "x"),
        ("int | str | None", "x", "x"),
        ("int | None", None, None),
        ('Literal["auto"] | Annotated[int, AtLeast(0)]', 0, 0),
        ('Literal["auto"] | Annotated[int, AtLeast(0)]', "auto", "auto"),
        ("Annotated[float, Between(0, 1)]", 1, 1.0),
        ("typing.Annotated[float, types.Between(low=0, high=1)]", 0, 0.0),
        ("Annotated[float, Between(-1, 1)]", -1, -1.0),
        ("Annotated[float | None, AtLeast(0)]", None, None),
        ("tuple[Annotated[int, AtLeast(16)], Annotated[int, AtLeast(16)]]", [16, 99], (16, 99)),
        ("list[tuple[int, int]]", [[1, 2], [3, 4]], [(1, 2), (3, 4)]),
        ('"int"', 3, 3),
        ("list['int']", [3], [3]),
    ],
)
def test_taken(annotation, value, expected):
    result = taken(annotation, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("bool", 1),
        ("bool", "true"),
        ("int", True),
        ("int", 1.0),
        ("int", "1"),
        ("float", True),
        ("float", "1"),
        ("float", math.nan),
        ("float", math.inf),
        ("float", -math.inf),
        ("float", 10**400),
        ("str", 1),
        ("Path", 1),
        ("list", {}),
        ("dict", []),
        ("list[float]", [1, "x"]),
        ("list[float]", 1),
        ("list[float]", [math.nan]),
        ("tuple[int, int]", [1]),
        ("tuple[int, int]", [1, 2, 3]),
        ("tuple[int, int]", [1, True]),
        ("tuple[int, ...]", [1, "x"]),
        ("tuple[int, int]", 1),
        ("dict[str, int]", {"a": "x"}),
        ("dict[str, int]", [1]),
        ("Literal[1, 2]", True),
        ("Literal[1, 2]", 3),
        ("Optional[int]", "x"),
        ("int | None", "x"),
        ("None", 1),
        ("Annotated[float, Between(0, 1)]", 1.01),
        ("Annotated[float, Between(0, 1)]", -0.01),
        ("Annotated[float, Between(low=0, high=1)]", 2),
        ("Annotated[int, AtLeast(1)]", 0),
        ("Annotated[float, Above(0)]", 0),
        ("Annotated[float | None, AtLeast(0)]", -1),
        ("Annotated[int, AtLeast(2), Between(0, 5)]", 6),
        ("Annotated[int, AtLeast(2), Between(0, 5)]", 1),
        ("tuple[Annotated[int, AtLeast(16)], Annotated[int, AtLeast(16)]]", [15, 16]),
        ("Annotated[float, AtLeast(0)]", math.inf),
        ("Annotated[float, Above(0)]", math.inf),
        ("Annotated[float | None, AtLeast(0)]", math.nan),
    ],
)
def test_refused(annotation, value):
    with pytest.raises(ValueError):  # noqa: PT011
        parse_annotation(annotation).convert(value)


@pytest.mark.parametrize(
    "annotation",
    [
        *[None, "Any", "nn.Module", "Callable[[int], int]", "torch.Tensor", "Custom[int]", "f(x)", '"in pixels"', "3"],
        *["Literal[NAME]", "Annotated[Other, AtLeast(0)]"],
    ],
)
@pytest.mark.parametrize("value", [1, "x", None, [1, "x"], {"a": True}])
def test_what_is_not_understood_takes_anything(annotation, value):
    assert parse_annotation(annotation).convert(value) == value


def test_a_tuple_without_annotation_becomes_the_list_that_a_recipe_would_give():
    assert parse_annotation(None).convert((1, 2)) == [1, 2]


@pytest.mark.parametrize("bound", ["AtLeast(LIMIT)", "Between(0)", "Between(0, math.inf)", "unknown(3)", '"pixels"'])
def test_a_bound_that_cannot_be_read_is_no_bound(bound):
    kind = parse_annotation(f"Annotated[int, {bound}]")
    assert (kind.text, kind.convert(-5)) == ("a whole number", -5)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ("bool", "true or false"),
        ("int", "a whole number"),
        ("float", "a number"),
        ("str", 'a text in "quotes"'),
        ("Annotated[float, Between(0, 1)]", "a number between 0 and 1"),
        ("Annotated[int, AtLeast(1)]", "a whole number 1 or more"),
        ("Annotated[float, Above(0)]", "a number more than 0"),
        ('Literal["a", "b"]', 'one of "a", "b"'),
        ("int | None", "a whole number"),
        ("int | str", 'a whole number or a text in "quotes"'),
        ("tuple[int, int]", "a list of 2, each a whole number"),
        ("tuple[int, float]", "a list of 2, a whole number, a number"),
        ("list[Annotated[int, AtLeast(1)]]", "a list, each a whole number 1 or more"),
        ("tuple[float, ...]", "a list, each a number"),
        ("dict[str, int]", "a table {name = value}, each value a whole number"),
        ("Any", "any value"),
    ],
)
def test_texts(annotation, text):
    assert parse_annotation(annotation).text == text


def test_a_misspelled_choice_gets_the_nearest():
    assert refused('Literal["stretch", "fit"]', "strech") == "did you mean 'stretch'?"
    assert refused('Literal["stretch", "fit"] | None', "strech") == "did you mean 'stretch'?"
    assert refused('int | Literal["auto"]', "autto") == "did you mean 'auto'?"
    assert refused('Literal["stretch", "fit"]', 3) == ""


@pytest.mark.parametrize("annotation", ["float", "Annotated[float, AtLeast(0)]", "float | None", "list[float]"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_is_told_so(annotation, value):
    assert refused(annotation, [value] if "list" in annotation else value) == "It must be finite."


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_bounds_agree_with_comparison(value, low, width):
    high = low + width
    assert Between(low, high).holds(value) == (low <= value <= high)
    assert AtLeast(low).holds(value) == (value >= low)
    assert Above(low).holds(value) == (value > low)
    for text, holds in [(f"Between({low!r}, {high!r})", low <= value <= high), (f"Above({low!r})", value > low)]:
        if holds:
            assert taken(f"Annotated[float, {text}]", value) == value
        else:
            refused(f"Annotated[float, {text}]", value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        (0.5, "0.5"),
        ("a", '"a"'),
        ('a "b"\nc', '"a \\"b\\"\\nc"'),
        ([1, "x"], '[1, "x"]'),
        ((1, 2), "[1, 2]"),
        ({"a": False}, "{a = false}"),
    ],
)
def test_show(value, text):
    assert show(value) == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
@pytest.mark.slow
def test_show_is_short_and_one_line(value):
    assert len(show(value)) <= 80
    assert "\n" not in show(value)
