"""Shapes become the pixels whose centers they hold, and COCO's runs are read as its own library writes them."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from gisegkit.data.shapes import Shape, decode_counts, fill_disk, fill_polygon
from gisegkit.errors import DataError


def inside(points, x, y):
    """Whether a ray to the right crosses the outline an odd number of times (Franklin's pnpoly)."""
    odd = False
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            odd = not odd
    return odd


def test_a_polygon_holds_the_pixels_whose_centers_are_inside():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.uniform(-6, 20, (int(rng.integers(3, 8)), 2))
        expected = [[inside(points.tolist(), column + 0.5, row + 0.5) for column in range(16)] for row in range(12)]
        assert np.array_equal(fill_polygon(points, height=12, width=16), expected)


def test_the_area_is_that_of_the_polygon_where_fill_poly_counts_the_outline():
    points = np.array([[2, 3], [10, 3], [10, 8], [2, 8]])
    mask = fill_polygon(points.astype(float), height=12, width=12)
    expected = np.zeros((12, 12), dtype=bool)
    expected[3:8, 2:10] = True
    assert np.array_equal(mask, expected)
    larger = cv2.fillPoly(np.zeros((12, 12), dtype=np.uint8), [points.astype(np.int32)], 1)
    assert (mask.sum(), larger.sum()) == (8 * 5, 9 * 6)


def test_neighbors_share_no_pixel_and_leave_none_out():
    corner, middle = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], dtype=float), np.array([4.5, 3.5])
    parts = [fill_polygon(np.array([corner[k], corner[(k + 1) % 4], middle]), height=9, width=9) for k in range(4)]
    assert (np.sum(parts, axis=0) == 1).all()


def test_a_disk():
    mask = fill_disk((5.0, 4.0), 3.0, height=9, width=11)
    rows, columns = np.nonzero(mask)
    assert (np.hypot(columns + 0.5 - 5, rows + 0.5 - 4) <= 3).all()
    assert mask.sum() == 32  # centers at odd multiples of a half within 3 of a corner: 8 in each quadrant


def block(height, width, rows, columns):
    mask = np.zeros((height, width), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_compressed_runs_are_those_of_pycocotools():
    """The texts were written by pycocotools 2.0.11, encode(np.asfortranarray(mask))."""
    mask = block(300, 7, (5, 299), (1, 6))
    mask[7, 3] = False
    assert np.array_equal(decode_counts("a9V9600lFKQ95300W9", height=300, width=7), mask)


def test_runs_go_down_the_columns():
    mask = block(4, 3, (1, 3), (1, 3))
    assert np.array_equal(decode_counts([5, 2, 2, 2, 1], height=4, width=3), mask)
    assert np.array_equal(decode_counts([0, 12], height=4, width=3), np.ones((4, 3), dtype=bool))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([5, 2], "cover 7 pixels, and 4 x 3 has 12"),
        ([-1, 13], "no whole numbers of 0 or more"),
        ([1.5, 10.5], "no whole numbers"),
        ("5~", "the letter '~'"),
        ("X", "cut off"),
    ],
)
def test_damaged_runs_are_refused(counts, said):
    with pytest.raises(DataError, match=said):
        decode_counts(counts, height=4, width=3)


def test_parts_of_a_polygon_are_united_and_a_bitmap_is_pasted():
    square = [(1, 1), (4, 1), (4, 4), (1, 4)]
    moved = [(x + 1, y) for x, y in square]
    mask = Shape("a", "one", "polygon", [square, moved]).pixels((6, 6))
    assert np.array_equal(mask, block(6, 6, (1, 4), (1, 5)))
    bitmap = np.array([[0, 255, 0], [255, 255, 255]], dtype=np.uint8)
    text = base64.b64encode(cv2.imencode(".png", bitmap)[1].tobytes()).decode()
    pasted = Shape("a", "one", "bitmap", (2, 3, text)).pixels((6, 6))
    assert np.array_equal(np.argwhere(pasted), [[3, 3], [4, 2], [4, 3], [4, 4]])
    with pytest.raises(DataError, match="rows 3 to 5 and columns 4 to 7, beyond the image"):
        Shape("a", "one", "bitmap", (4, 3, text)).pixels((6, 6))


def test_how_far_a_shape_lies_outside():
    square = [(1, 1), (4, 1), (4, 4), (1, 4)]
    assert Shape("a", "one", "polygon", [square]).beyond((6, 6)) == 0
    assert Shape("a", "one", "polygon", [square]).beyond((6, 2)) == 2
    assert Shape("a", "one", "polygon", [[(x + 9, y) for x, y in square]]).beyond((6, 6)) == float("inf")
    assert Shape("a", "one", "disk", (1, 3, 2)).beyond((6, 6)) == 1
