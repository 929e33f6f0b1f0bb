"""Palettes, files of one bit, and damage, as Pillow reads them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from gisegkit.data.images.read import colors_of, read_image, read_values
from gisegkit.errors import DataError

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 20), dtype=np.uint16)


@pytest.mark.parametrize("form", ["png", "gif", "bmp", "tif"])
def test_palettes_give_indices_to_masks_and_colors_to_images(tmp_path, form):
    indices = GRAY % 3
    colors = np.array([[0, 0, 0], [200, 30, 30], [30, 30, 200]], dtype=np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette(colors.tobytes())
    image.save(path := tmp_path / f"a.{form}")
    assert np.array_equal(read_values(path), indices)
    assert np.array_equal(read_image(path), colors[indices])
    assert np.array_equal(colors_of(path), colors[indices])


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "gif"])
def test_a_palette_of_grays(tmp_path, form):
    indices = GRAY % 3
    grays = np.array([0, 80, 160], dtype=np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette(np.repeat(grays, 3).tobytes())
    image.save(path := tmp_path / f"a.{form}")
    assert np.array_equal(read_values(path), indices)
    assert np.array_equal(read_image(path), grays[indices])


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "gif"])
def test_one_bit(tmp_path, form):
    Image.fromarray(GRAY > 99).save(path := tmp_path / f"a.{form}")
    assert np.array_equal(read_values(path) != 0, GRAY > 99)
    assert form == "gif" or read_values(path).max() == 1
    assert np.array_equal(read_image(path), (GRAY > 99) * 255)


@pytest.mark.parametrize("form", ["gif", "bmp", "webp"])
def test_damaged_others(tmp_path, form):
    Image.fromarray(cv2.resize(GRAY, (200, 160))).save(path := tmp_path / f"a.{form}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\.{form}"):
        read_image(path)
