"""TIFF files: bands, compressions, depths, pages; what is damaged."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import image_size, read_image, read_values
from gisegkit.errors import DataError

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 20), dtype=np.uint16)


def tiff(path, values, **options):
    tifffile.imwrite(path, values, **options)
    return path


@pytest.mark.parametrize("bands", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_bands_of_a_tiff_are_channels(tmp_path, bands, dtype, planar):
    image = (RANDOM.random((12, 20, bands)) * 200).astype(dtype)
    stored = image if planar == "contig" else np.moveaxis(image, 2, 0)
    path = tiff(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar, metadata=None)
    found = read_image(path)
    assert found.dtype == dtype and np.array_equal(found, image)
    assert read_header(path).channels == bands


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "deflate", "zstd"])
def test_compressed_tiff(tmp_path, bigtiff, compression):
    path = tiff(tmp_path / "a.tif", DEEP, bigtiff=bigtiff, compression=compression, predictor=compression == "zlib")
    assert np.array_equal(read_image(path), DEEP) and image_size(path) == (12, 20)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float32), (np.int8, np.int8),
     (np.int16, np.int16), (np.int32, np.int32), (np.uint32, np.uint32)],
)  # fmt: skip
def test_values_of_every_type(tmp_path, dtype, expected):
    image = (RANDOM.random((12, 20)) * 100 - (50 if np.dtype(dtype).kind != "u" else 0)).astype(dtype)
    found = read_image(tiff(tmp_path / "a.tif", image))
    assert found.dtype == expected and np.array_equal(found, image.astype(expected))


def test_twelve_bits_are_unpacked(tmp_path):
    image = DEEP >> 4
    found = read_image(tiff(tmp_path / "a.tif", image, bitspersample=12, photometric="minisblack"))
    assert found.dtype == np.uint16 and np.array_equal(found, image)


def test_white_is_zero(tmp_path):
    path = tiff(tmp_path / "a.tif", GRAY, photometric="miniswhite")
    assert np.array_equal(read_image(path), 255 - GRAY)
    with pytest.raises(DataError, match=r"a\.tif: says that 0 is white"):
        read_values(path)
    path = tiff(tmp_path / "b.tif", GRAY > 99, photometric="miniswhite", software="scanner")
    assert np.array_equal(read_values(path), GRAY <= 99) and set(np.unique(read_image(path))) == {0, 255}
    path = tiff(tmp_path / "c.tif", GRAY > 99)  # tifffile says that 0 is white, and means True and False
    assert read_header(path).inverted and np.array_equal(read_values(path), GRAY > 99)


@pytest.mark.parametrize("photometric", ["cfa", "logl", "icclab"])
def test_colors_that_are_no_gray_or_rgb_are_refused(tmp_path, photometric):
    with pytest.raises(DataError, match=r"a\.tif: is a TIFF file of colors"):
        read_image(tiff(tmp_path / "a.tif", RGB if photometric == "icclab" else DEEP, photometric=photometric))


@pytest.mark.parametrize(
    "options",
    [{}, {"bigtiff": True}, {"imagej": True, "metadata": {"axes": "ZYX"}}, {"metadata": None}, {"compression": "zlib"}],
)
@pytest.mark.parametrize("bands", [1, 3])
def test_pages(tmp_path, options, bands):
    stack = RANDOM.integers(0, 60000, (4, 12, 20, bands), dtype=np.uint16).squeeze()
    if bands > 1 and options.get("imagej"):
        stack = np.moveaxis(stack, 3, 1)  # ImageJ's order: pages, channels, rows, columns
        options = options | {"metadata": {"axes": "ZCYX"}}
    path = tiff(
        tmp_path / "a.tif",
        stack,
        photometric="rgb" if bands > 1 and "imagej" not in options else "minisblack",
        **options,
    )
    with pytest.raises(DataError, match=r'a\.tif: holds several pages \(4\); dataset\.pages = "slices"'):
        read_image(path)
    assert read_header(path).pages == 4
    for page in range(4):
        expected = np.moveaxis(stack[page], 0, 2) if bands > 1 and options.get("imagej") else stack[page]
        assert np.array_equal(read_image(path, page=page), expected)
    with pytest.raises(DataError, match="has no page 5"):
        read_image(path, page=4)


def test_pages_that_were_written_one_by_one_are_pages_if_they_are_alike(tmp_path):
    path = tmp_path / "a.tif"
    for page in (GRAY, GRAY[::-1], 255 - GRAY):
        tiff(path, page, append=True)
    assert read_header(path).pages == 3
    assert np.array_equal(read_image(path, page=1), GRAY[::-1]) and np.array_equal(
        read_values(path, page=2), 255 - GRAY
    )
    tiff(path, GRAY[:5], append=True)
    with pytest.raises(DataError, match=r"a\.tif: holds 2 images of different forms \(3x12x20, 5x20"):
        read_header(path)


def test_two_axes_of_pages_and_frames_are_refused(tmp_path):
    path = tiff(tmp_path / "a.tif", np.zeros((2, 3, 12, 20), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(DataError, match=r"a\.tif: holds 2 \(T\) x 3 \(Z\) images"):
        read_image(path)
    for form in ("gif", "webp", "png"):
        frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
        frames[0].save(path := tmp_path / f"b.{form}", save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match=r"holds several frames \(2\); save every slice as a file of its own"):
            read_image(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_damaged_tiff(tmp_path, compression, kept):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.tile(DEEP, (10, 10)), compression=compression)
    content = buffer.getvalue()
    (tmp_path / "a.tif").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.tif"):
        read_image(tmp_path / "a.tif")
