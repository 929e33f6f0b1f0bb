"""PNG files of few bits, with gray and alpha, with a transparent color."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gisegkit.data.images.read import read_image, read_values
from gisegkit.errors import DataError

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 20), dtype=np.uint16)


def png_of(chunks):
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_and_alpha(tmp_path, dtype):
    gray = np.stack([GRAY, GRAY[::-1]], axis=2).astype(dtype) * (1 if dtype == np.uint8 else 256)
    scanlines = b"".join(b"\0" + row.astype(gray.dtype.newbyteorder(">")).tobytes() for row in gray)
    head = struct.pack(">IIBBBBB", 20, 12, gray.itemsize * 8, 4, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(png_of([(b"IHDR", head), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")]))
    assert np.array_equal(read_image(path, alpha="channel"), gray)
    assert np.array_equal(read_image(path, alpha="drop"), gray[..., 0])


def test_a_transparent_color(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path, transparency=tuple(RGB[0, 0].tolist()))
    with pytest.raises(DataError, match=r"a\.png"):
        read_image(path)
    assert np.array_equal(read_image(path, alpha="drop"), RGB)


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_a_gray_that_is_transparent_makes_a_channel_of_transparency(tmp_path, bits):
    values = np.clip(GRAY.astype(np.uint16), 1, 2**bits - 1)
    if bits == 2:
        rows = [np.packbits((row[:, None] & np.array([2, 1])) > 0).tobytes() for row in values]
    else:
        rows = [row.astype(">u2" if bits == 16 else np.uint8).tobytes() for row in values]
    head = struct.pack(">IIBBBBB", 20, 12, bits, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    scale = 85 if bits == 2 else 1
    for clear in (int(values[0, 0]), 0):  # 0 is not there
        path = tmp_path / f"{clear}.png"
        tag = struct.pack(">H", clear)
        path.write_bytes(png_of([(b"IHDR", head), (b"tRNS", tag), (b"IDAT", body), (b"IEND", b"")]))
        assert np.array_equal(read_image(path, alpha="drop"), values * scale)
        if clear:
            for read in (read_image, read_values):
                with pytest.raises(DataError, match=r"alpha channel that is not opaque"):
                    read(path)
            seen = read_image(path, alpha="channel")[:, :, 1]
            assert np.array_equal(seen == 0, values == clear) and set(np.unique(seen)) == {
                0,
                255 if bits < 16 else 65535,
            }
        else:
            assert np.array_equal(read_image(path), values * scale) and np.array_equal(read_values(path), values)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits(tmp_path, bits):
    values = GRAY % 2**bits
    weights = 1 << np.arange(bits)[::-1]
    scanlines = b"".join(b"\0" + np.packbits((row[:, None] & weights) > 0).tobytes() for row in values)
    head = struct.pack(">IIBBBBB", 20, 12, bits, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(png_of([(b"IHDR", head), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")]))
    assert np.array_equal(read_values(path), values)
    assert np.array_equal(read_image(path), values * (255 // (2**bits - 1)))
