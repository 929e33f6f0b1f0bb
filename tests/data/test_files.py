"""Image files: types and channel order, damage, headers, several pages."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from gisegkit.data import files
from gisegkit.data.files import no_data, png_header
from gisegkit.data.images.read import image_size, read_image
from gisegkit.errors import DataError

GREY = (np.random.default_rng(0).random((40, 30)) * 60000).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_files_come_back_exactly(tmp_path, suffix, dtype, channels):
    image = np.stack([GREY.astype(dtype) + c for c in range(channels)], axis=2).squeeze()
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), image if channels == 1 else image[:, :, ::-1])
    found = read_image(path)
    assert found.dtype == dtype
    assert np.array_equal(found, image)
    assert image_size(path) == (40, 30)


def test_float_tiff(tmp_path):
    image = GREY.astype(np.float32) / 7
    cv2.imwrite(str(tmp_path / "image.tif"), image)
    assert np.array_equal(read_image(tmp_path / "image.tif"), image)


def test_color_comes_as_red_green_blue_without_alpha(tmp_path):
    red = np.zeros((4, 5, 4), dtype=np.uint8)
    red[:, :, 2:] = 255  # OpenCV's order: blue, green, red, alpha
    cv2.imwrite(str(tmp_path / "red.png"), red)
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]
    cv2.imwrite(str(tmp_path / "red.jpg"), red[:, :, :3])
    pixel = read_image(tmp_path / "red.jpg")[0, 0].astype(int)
    assert pixel[0] > 240
    assert pixel[1:].max() < 15
    assert image_size(tmp_path / "red.jpg") == (4, 5)


def test_header(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), GREY)
    assert png_header(tmp_path / "a.png") == (40, 30, 16, True)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((2, 7, 3), dtype=np.uint8))
    assert png_header(tmp_path / "b.png") == (2, 7, 8, False)


@pytest.mark.parametrize("kept", [0, 10, 40, 1000, -30, -4])
def test_files_that_are_cut_off(tmp_path, kept):
    path = tmp_path / "cut.png"
    path.write_bytes(cv2.imencode(".png", GREY)[1].tobytes()[:kept])
    with pytest.raises(DataError, match=r"cut\.png"):
        read_image(path)


def test_no_image_and_no_file(tmp_path):
    (tmp_path / "text.png").write_text("this is no image, but long enough to have a header")
    for read in (read_image, png_header, image_size):
        with pytest.raises(DataError, match=r"text\.png"):
            read(tmp_path / "text.png")
        with pytest.raises(DataError, match=r"nothing\.png: cannot be read"):
            read(tmp_path / "nothing.png")


def test_several_pages_are_refused(tmp_path):
    path = tmp_path / "stack.tif"
    cv2.imwritemulti(str(path), [GREY, GREY, GREY])
    with pytest.raises(DataError, match="several pages"):
        read_image(path)


def test_three_ways_out(tmp_path):
    lines = str(no_data(tmp_path, "is empty", put="put it here", hint="look there")).splitlines()
    assert lines[0] == f"{tmp_path}: is empty; look there"
    assert len(lines) == 4
    assert "put it here" in lines[1]
    assert "--set dataset.root=" in lines[2]
    assert "--demo" in lines[3]


def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_opened_once(tmp_path, monkeypatch):
    file, opened, read = tmp_path / "a", [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: opened.append(1) or read(self))
    for content in (b"one", b"two", b"six"):  # of one size, at once
        file.write_bytes(content)
        assert files.read_bytes(file) == content
    long_ago = files.time.time_ns() + 10**9
    monkeypatch.setattr(files.time, "time_ns", lambda: long_ago)
    before = len(opened)
    assert [files.read_bytes(file) for _ in range(3)] == [b"six"] * 3
    assert len(opened) == before + 1
    file.write_bytes(b"longer")
    assert files.read_bytes(file) == b"longer"


def test_a_forked_process_does_not_wait_for_a_lock_that_was_held(tmp_path):
    (tmp_path / "a").write_bytes(b"here")
    with files._recent._lock:
        child = os.fork()
        if not child:
            os._exit(0 if files.read_bytes(tmp_path / "a") == b"here" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
