"""Runs that were written along the columns."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.data import rle
from gisegkit.data.run_direction import direction


def masks(height, width, *, columns, number=4):
    for k in range(number):
        mask = np.zeros((height, width), bool)
        mask[4 + k : 14 + k, 3:12] = True
        yield f"m{k}", rle.encode(mask.T if columns else mask), height, width


@pytest.mark.parametrize(("height", "width"), [(20, 30), (30, 20)])
@pytest.mark.parametrize("columns", [False, True])
def test_stripes_tell(height, width, columns):
    found = direction(masks(height, width, columns=columns))
    assert found.judged == 4 and found.columns == 4 * columns and found.doubtful is columns
    assert not columns or "4 of 4 masks that were looked at (first: m0) fall into stripes" in str(found)


def test_what_tells_nothing():
    assert direction(masks(24, 24, columns=True)).judged == 0
    assert not direction(masks(20, 30, columns=True, number=1)).doubtful
    assert direction([("m", "", 3, 4), ("m", "9 9 9", 3, 4)]) == (0, 0, "")


def test_inverted_masks_cross_the_ends_of_rows_and_are_no_columns():
    inverted = np.ones((20, 30), bool)
    inverted[5:12, 6:20] = False
    assert direction([(str(k), rle.encode(inverted), 20, 30) for k in range(3)]).columns == 0
