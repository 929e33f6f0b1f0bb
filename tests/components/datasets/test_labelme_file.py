"""Shapes of labelme, the image that a file is of, and the picture in it."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from gisegkit.components.datasets.labelme_file import image_name, other_picture, shape_of


@pytest.mark.parametrize(
    ("said", "name"),
    [("..\\img\\a.png", "a.png"), ("../img/a.png", "a.png"), ("a.png", "a.png"), (None, ""), ("", "")],
)
def test_the_name_of_the_image(said, name):
    assert image_name({"imagePath": said}) == name
    assert image_name({}) == ""


def test_a_rectangle_by_two_corners_in_any_order_or_by_four():
    size = (8, 8)
    expected = np.zeros(size, dtype=bool)
    expected[2:5, 1:7] = True
    four = [[1, 2], [7, 2], [7, 5], [1, 5]]
    for points in ([[1, 2], [7, 5]], [[7, 5], [1, 2]], [[1, 5], [7, 2]], four):
        entry = {"label": "a", "points": points, "shape_type": "rectangle"}
        assert np.array_equal(shape_of(entry, "shape 1").pixels(size), expected)


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint16, 0), (np.uint8, 3), (np.uint8, 0)])
def test_the_picture_of_a_deep_image_has_8_bits_and_is_alike(tmp_path, dtype, channels):
    """labelme keeps a picture of 8 bits of images that have 16."""
    rng = np.random.default_rng(0)
    shape = (24, 32, channels) if channels else (24, 32)
    image = cv2.GaussianBlur(rng.random(shape), (0, 0), 2)
    image = ((image - image.min()) / np.ptp(image) * (np.iinfo(dtype).max * 0.9)).astype(dtype)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    small = (image.astype(float) / image.max() * 255).astype(np.uint8)
    for values, same in ((small, True), (small[:, ::-1], False)):
        held = {"imageData": base64.b64encode(cv2.imencode(".png", values)[1].tobytes()).decode()}
        assert (other_picture(held, tmp_path / "a.png") == "") is same


def test_constant_pictures(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), dtype=np.uint8))
    for values, same in ((np.full((8, 8), 9), True), (np.eye(8) * 9, False)):
        held = {"imageData": base64.b64encode(cv2.imencode(".png", values.astype(np.uint8))[1].tobytes()).decode()}
        assert (other_picture(held, tmp_path / "a.png") == "") is same
