"""gisegkit.recipe.per_class."""

from __future__ import annotations

import pytest

from gisegkit.errors import DataError
from gisegkit.recipe.per_class import per_class

CLASSES = ("large_bowel", "small_bowel", "stomach")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, (0.5, 0.5, 0.5)),
        ({"default": 0.4}, (0.4, 0.4, 0.4)),
        ({"stomach": 0.3, "default": 0.4}, (0.4, 0.4, 0.3)),
        ({"stomach": 0.3, "small_bowel": 0.2, "large_bowel": 0.1}, (0.1, 0.2, 0.3)),
    ],
)
def test_each_class_has_its_value_in_the_order_of_the_classes(value, expected):
    assert per_class(value, CLASSES, key="evaluate.threshold") == expected


def test_a_class_called_default_is_meant_by_its_name():
    assert per_class({"default": 1, "other": 2}, ("other", "default"), key="x") == (2, 1)
    with pytest.raises(DataError, match="no value for 'other'"):
        per_class({"default": 1}, ("other", "default"), key="x")


def test_an_unknown_class_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"evaluate.threshold = .*no class 'stomac'; did you mean 'stomach'\?"):
        per_class({"stomac": 0.3, "default": 0.5}, CLASSES, key="evaluate.threshold")
    with pytest.raises(DataError, match=r"no class 'x'; there are: large_bowel, small_bowel, stomach"):
        per_class({"x": 0.3, "default": 0.5}, CLASSES, key="evaluate.threshold")


def test_a_class_without_a_value_is_refused():
    with pytest.raises(DataError, match=r"no value for 'large_bowel', 'stomach'; add it, or default = \.\.\."):
        per_class({"small_bowel": 0.3}, CLASSES, key="evaluate.presence")
