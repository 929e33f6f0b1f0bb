"""Bounds, and the names that other modules import from ``types``."""

from __future__ import annotations

import pytest

from gisegkit import types
from gisegkit.types import Above, AtLeast, Between, silent


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "words"),
    [
        (Between(0, 1), [0, 0.5, 1], [-0.1, 1.1], "between 0 and 1"),
        (AtLeast(1), [1, 2.5], [0.99], "1 or more"),
        (Above(0), [1e-9], [0, -1], "more than 0"),
    ],
)
def test_bounds(bound, inside, outside, words):
    assert all(bound.holds(value) for value in inside)
    assert not any(bound.holds(value) for value in outside)
    assert str(bound) == words


def test_array_names_can_be_imported_at_run_time():
    assert all(hasattr(types, name) for name in ("AnyArray", "BoolArray", "FloatArray", "MaskArray"))


def test_silent_progress_gives_the_items_back():
    assert list(silent([1, 2], "label", 2)) == [1, 2]
