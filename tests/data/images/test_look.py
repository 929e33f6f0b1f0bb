"""Files that are no images, and those that are too large, by their first bytes."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.data.images.read import read_image
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


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "gif"])
def test_giants_are_refused_by_their_header(tmp_path, form):
    path = tmp_path / f"a.{form}"
    side = 40_000
    if form == "png":
        head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        path.write_bytes(png_of([(b"IHDR", head), (b"IDAT", b""), (b"IEND", b"")]))
    elif form == "tif":
        with tifffile.TiffWriter(path, bigtiff=True) as writer:
            writer.write(
                iter([b"1"] * 4), shape=(side, side), dtype=np.uint8, tile=(20_000, 20_000), compression="zlib"
            )
    elif form == "bmp":
        content = io.BytesIO()
        Image.fromarray(GRAY).save(content, "BMP")
        content = bytearray(content.getvalue())
        content[18:26] = struct.pack("<ii", side, side)
        path.write_bytes(content)
    else:
        content = io.BytesIO()
        Image.fromarray(GRAY).save(content, "GIF")
        content = bytearray(content.getvalue())
        content[6:10] = struct.pack("<HH", side, side)
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.{form}: has 40,000 x 40,000 .*cut it into tiles") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.png").write_bytes(b"<html><body>404</body></html>")
    (tmp_path / "scan.png").write_bytes(bytes(128) + b"DICM" + bytes(200))
    (tmp_path / "git.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    for name, words in (
        ("pipe", "is a pipe"), ("folder", "is a folder"), ("empty", "is empty"), ("page", "is a web page"),
        ("scan", "is DICOM, which is not read; export it"),
        ("git", "is not the image but Git's pointer to it; git lfs pull"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=rf"{name}\.png: {words}"):
            read_image(tmp_path / f"{name}.png")
