"""Images and masks as they are asked for: alpha, orientation, what was decoded against what the file says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.data.images import read
from gisegkit.data.images.read import image_size, read_image, read_values, upright
from gisegkit.errors import DataError

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 20), dtype=np.uint16)


def tiff(path, values, **options):
    tifffile.imwrite(path, values, **options)
    return path


@pytest.mark.parametrize("form", ["png", "tif", "webp"])
def test_alpha_of_an_image_is_a_question(tmp_path, form):
    path = tmp_path / f"a.{form}"
    image = RGBA.copy()
    image[..., 3] |= 1  # colors where all is transparent may be lost
    Image.fromarray(image).save(path, **({"lossless": True, "exact": True} if form == "webp" else {}))
    with pytest.raises(DataError, match=rf'a\.{form}: has an alpha channel.*dataset\.alpha = "channel"'):
        read_image(path)
    assert np.array_equal(read_image(path, alpha="channel"), image)
    assert np.array_equal(read_image(path, alpha="drop"), image[..., :3])
    image[..., 3] = 255
    Image.fromarray(image).save(path, **({"lossless": True} if form == "webp" else {}))
    assert np.array_equal(read_image(path), image[..., :3])


def test_alpha_of_a_mask(tmp_path):
    shape = (GRAY > 128).astype(np.uint8) * 255
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([np.zeros((12, 20, 3), np.uint8), shape])).save(path)
    with pytest.raises(DataError, match=r"a\.png: is a mask with an alpha channel.*mask_from"):
        read_values(path)
    assert np.array_equal(read_values(path, source="alpha"), shape)
    Image.fromarray(shape).save(path)
    with pytest.raises(DataError, match="has no alpha channel"):
        read_values(path, source="alpha")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif"])
def test_orientation_is_applied_alike(tmp_path, orientation, form):
    """Against Pillow's ``exif_transpose``, and OpenCV for TIFF."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = cv2.resize(GRAY[::4, ::4], (20, 12), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / f"a.{form}"
    if form == "tif":
        tiff(path, smooth, extratags=[(274, "H", 1, orientation, True)])
    else:
        Image.fromarray(np.dstack([smooth, smooth[::-1], smooth])).save(path, exif=exif, **({"lossless": True} if form == "webp" else {}))
    if form == "tif":
        seen = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)  # turns TIFF by itself
    else:
        seen = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    found = read_image(path)
    assert found.shape == seen.shape and np.abs(found.astype(int) - seen).max() <= (3 if form == "jpg" else 0)
    assert image_size(path) == found.shape[:2]
    assert np.array_equal(upright(smooth, orientation).shape, found.shape[:2])


def test_a_file_that_says_something_else(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), GRAY)
    monkeypatch.setattr(read.cv2, "imdecode", lambda content, flags: GRAY[:, :10])
    with pytest.raises(
        DataError, match=r"a\.png: says of itself PNG, 12 x 20 .* 12 x 10 x 1 of type uint8 were decoded"
    ):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("lossless", [False, True])
def test_gray_webp_is_gray_although_the_format_is_not(tmp_path, lossless):
    smooth = np.tile(np.arange(0, 200, 10, dtype=np.uint8), (12, 1))
    Image.fromarray(smooth).save(path := tmp_path / "a.webp", lossless=lossless)
    found = read_image(path)
    assert found.shape == smooth.shape and np.abs(found.astype(int) - smooth).max() <= (0 if lossless else 20)
    Image.fromarray(RGB).save(path, lossless=True)
    assert np.array_equal(read_image(path), RGB)
