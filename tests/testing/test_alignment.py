"""Image and mask that move together are never called misplaced; those that do not are, in words."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gisegkit.testing.alignment import misplaced, paint, shapes

SIZES = [(48, 64), (32, 32), (96, 40)]


def values(mask):
    return mask.astype(np.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(10))
def test_moved_together_is_in_place(size, seed):
    mask = shapes(size, seed)
    rng = np.random.default_rng(seed)
    assert misplaced(paint(mask), values(mask)) == ""
    for _ in range(3):
        angle, scale = rng.uniform(-45, 45), rng.uniform(0.8, 1.2)
        matrix = cv2.getRotationMatrix2D((size[1] / 2, size[0] / 2), angle, scale)
        image = cv2.warpAffine(paint(mask), matrix, size[::-1], flags=cv2.INTER_LINEAR)
        moved = cv2.warpAffine(mask.astype(np.uint8), matrix, size[::-1], flags=cv2.INTER_NEAREST)
        image = cv2.blur(image, (3, 3)) * rng.uniform(-1.5, 1.5) + rng.normal(0, 0.05, size)
        row, column = (int(rng.integers(length // 2)) for length in size)
        image[row : row + size[0] // 4, column : column + size[1] // 4] = 0  # a hole
        assert misplaced(image, values(moved)) == ""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(10))
def test_moved_alone_is_misplaced(size, seed):
    mask = shapes(size, seed)
    image = paint(mask)
    assert (
        misplaced(np.roll(image, (6, -4), (0, 1)), values(mask))
        == "the image lies 6 rows and 4 columns beside the mask"
    )
    assert "mirrored" in misplaced(image[:, ::-1], values(mask)) or "beside" in misplaced(image[:, ::-1], values(mask))
    assert misplaced(image[::-1, ::-1], values(mask)) != ""


def test_nothing_painted_is_in_place():
    assert misplaced(np.zeros((32, 32)), np.zeros((32, 32))) == ""
