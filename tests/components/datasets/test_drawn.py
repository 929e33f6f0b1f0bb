"""Shapes by class become planes: their order decides nothing but where classes exclude one another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gisegkit.components.datasets.drawn import DrawRule
from gisegkit.data.shapes import Shape
from gisegkit.errors import DataError
from gisegkit.types import IGNORE


def bar(label, first, stop, *, crowd=False):
    """A shape over whole rows of 4 columns."""
    points = [(0, first), (4, first), (4, stop), (0, stop)]
    return Shape(label, label, "polygon", [points], crowd)


SHAPES = [bar("a", 0, 3), bar("b", 2, 5), bar("c", 4, 6), bar("a", 0, 8, crowd=True)]


def rows(mask):
    """The values of a mask's planes in its first column, as strings."""
    return ["".join({0: "0", 1: "1", IGNORE: "-"}[int(value)] for value in mask[:, 0, k]) for k in range(mask.shape[2])]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_shapes_decides_nothing(order):
    shapes = [SHAPES[k] for k in order]
    overlapping, lost = DrawRule(("a", "b"), ("c",), crowd="ignore").mask(shapes, (8, 4))
    assert (rows(overlapping), lost) == (["111---" + "--", "0011--00"], 0)
    exclusive, lost = DrawRule(("a", "b"), ("c",), exclusive=True, crowd="ignore").mask(shapes, (8, 4))
    assert (rows(exclusive), lost) == (["1110----", "0001----"], 4)


def test_of_exclusive_classes_the_first_in_the_recipe_wins():
    shapes = [bar("a", 0, 3), bar("b", 2, 5)]
    assert rows(DrawRule(("b", "a"), exclusive=True).mask(shapes, (8, 4))[0]) == ["00111000", "11000000"]


def test_a_damaged_shape_is_named():
    with pytest.raises(DataError, match=r"annotation 7 \(a\): its runs cover 3 pixels"):
        DrawRule(("a",)).mask([Shape("a", "annotation 7", "runs", ([3], 8, 4))], (8, 4))
    with pytest.raises(DataError, match="its runs are of 4 x 8"):
        DrawRule(("a",)).mask([Shape("a", "annotation 7", "runs", ([32], 4, 8))], (8, 4))


def test_no_shape_is_an_empty_mask():
    mask, lost = DrawRule(("a", "b")).mask([], (8, 4))
    assert (mask.shape, mask.dtype, int(mask.sum()), lost) == ((8, 4, 2), np.uint8, 0, 0)
