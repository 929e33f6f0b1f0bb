"""What a file says of itself: its format, and whether values may have changed."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.data.images.header import sniff
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import read_image

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 20), dtype=np.uint16)


def tiff(path, values, **options):
    tifffile.imwrite(path, values, **options)
    return path


@pytest.mark.parametrize("lossless", [False, True])
def test_lossy_webp_and_tiff_are_told(tmp_path, lossless):
    Image.fromarray(RGB).save(tmp_path / "a.webp", lossless=lossless)
    assert read_header(tmp_path / "a.webp").lossy != lossless
    tiff(tmp_path / "a.tif", RGB, compression="zlib" if lossless else "jpeg", photometric="rgb")
    assert read_header(tmp_path / "a.tif").lossy != lossless


def test_content_decides(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95)
    expected = read_image(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.jpg").read_bytes())
    assert np.array_equal(read_image(tmp_path / "b.png"), expected)
    assert read_header(tmp_path / "b.png").format == "JPEG" and read_header(tmp_path / "b.png").lossy


def test_sniff():
    assert [sniff(start) for start in (b"BM12", b"GIF89a", b"MM\0+", b"RIFF1234WEBP", b"\xff\xd8\xff", b"text")] == [
        "BMP", "GIF", "TIFF", "WebP", "JPEG", "",
    ]  # fmt: skip
