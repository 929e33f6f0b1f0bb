"""Damage that a decoder in C only writes to standard error."""

from __future__ import annotations

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from gisegkit.data.images.complaints import listen
from gisegkit.data.images.read import read_image
from gisegkit.errors import DataError

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RGBA = RANDOM.integers(0, 256, (12, 20, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 20), dtype=np.uint16)


def jpeg():
    buffer = io.BytesIO()
    Image.fromarray(cv2.resize(GRAY, (200, 160))).save(buffer, "JPEG")
    return bytearray(buffer.getvalue())


@pytest.mark.parametrize("damage", ["cut", "cut and ended", "flipped"])
def test_damaged_jpeg(tmp_path, damage, capfd):
    content, half = jpeg(), len(jpeg()) // 2
    if damage == "flipped":
        content[half : half + 40] = bytes(reversed(content[half : half + 40]))
        content[half + 50] = 0xFF
        content[half + 51] = 0xD9
    else:
        content = content[:half] + (content[-2:] if "ended" in damage else b"")
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: is (a )?damaged"):
        read_image(tmp_path / "a.jpg")
    assert "Corrupt" not in capfd.readouterr().err


def test_other_lines_go_where_they_were_to_go(capfd):
    made, damage = listen(lambda: os.write(2, b"hello\nCorrupt JPEG data: x\nbye\n"))
    assert damage == "Corrupt JPEG data: x" and made == 31
    assert capfd.readouterr().err == "hello\nbye\n"


def test_an_error_in_between_gives_standard_error_back(capfd):
    with pytest.raises(ZeroDivisionError):
        listen(lambda: 1 // 0)
    os.write(2, b"here")
    assert capfd.readouterr().err == "here"
