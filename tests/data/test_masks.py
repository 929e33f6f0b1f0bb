"""What values and colors of masks mean: thresholds, colors with a tolerance, lossy files, alpha, palettes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from gisegkit.data.masks import MaskRule, hexadecimal, parse_colors
from gisegkit.errors import DataError
from gisegkit.types import IGNORE

SHAPE = (24, 32)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]
DISK = (ROWS - 12) ** 2 + (COLUMNS - 16) ** 2 < 64
SOFT = np.clip(255 * (9 - np.hypot(ROWS - 12, COLUMNS - 16)) / 2, 0, 255).astype(np.uint8)
RED, GREEN = (255, 0, 0), (0, 255, 0)


def save(path, values, **options):
    Image.fromarray(values).save(path, **options)
    return path


def read(rule, path):
    return rule.mask([path], SHAPE, Path("image.png"), page=None)


def test_smoothed_edges_are_refused_with_their_share_unless_a_threshold_is_given(tmp_path):
    path = save(tmp_path / "a.png", SOFT)
    between = int(((SOFT > 0) & (SOFT < 255)).sum())
    words = rf"a\.png: {between} of 768 pixels \({between / 768:.1%}\) have values between background and 255 "
    words += r".*threshold = 128"
    with pytest.raises(DataError, match=words):
        read(MaskRule(classes=("x",)), path)
    assert np.array_equal(read(MaskRule(classes=("x",), threshold=128), path)[:, :, 0], SOFT >= 128)
    assert np.array_equal(read(MaskRule(classes=("x",), threshold=1), path)[:, :, 0], SOFT > 0)


@pytest.mark.parametrize("top", [200, 100])
def test_smoothed_edges_below_the_full_scale(tmp_path, top):
    with pytest.raises(DataError, match=f"between background and {top} "):
        read(MaskRule(classes=("x",)), save(tmp_path / "a.png", (SOFT.astype(int) * top // 255).astype(np.uint8)))


@pytest.mark.parametrize("peak", [255, 230, 60])
def test_smoothed_edges_of_small_things_that_have_no_flat_middle(tmp_path, peak):
    soft = (peak * np.exp(-((ROWS - 12) ** 2 + (COLUMNS - 16) ** 2) / 8)).astype(np.uint8)
    with pytest.raises(DataError, match=f"between background and {soft.max()} "):
        read(MaskRule(classes=("x",)), save(tmp_path / "a.png", soft))


def test_objects_that_touch_and_are_numbered_from_without_are_no_smoothed_edges(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, :] = (ROWS // 4) * 8 + COLUMNS // 4
    labels[:2] = 0
    assert np.array_equal(read(MaskRule(classes=("x",)), save(tmp_path / "a.png", labels))[:, :, 0], labels > 0)


@pytest.mark.parametrize("values", [[1], [255], [1, 2], [1, 2, 3, 9], list(range(1, 20)), [7]])
def test_numbers_of_objects_are_no_smoothed_edges(tmp_path, values):
    labels = np.zeros(SHAPE, np.uint8)
    for place, value in enumerate(values):
        labels[:, place] = value
    assert np.array_equal(read(MaskRule(classes=("x",)), save(tmp_path / "a.png", labels))[:, :, 0], labels > 0)


def test_what_is_ignored_or_background_is_not_in_between(tmp_path):
    labels = np.where(DISK, 255, 0).astype(np.uint8)
    labels[0], labels[1] = 128, 64
    mask = read(MaskRule(classes=("x",), ignore=(128,), background=(0, 64)), save(tmp_path / "a.png", labels))
    assert (mask[0] == IGNORE).all() and not mask[1].any() and np.array_equal(mask[2:, :, 0], DISK[2:])


@pytest.mark.parametrize("form", ["JPEG", "WebP"])
def test_lossy_masks_need_a_threshold_whatever_their_name(tmp_path, form):
    path = save(tmp_path / "a.png", (DISK * 255).astype(np.uint8), format=form, quality=80)
    for rule in (MaskRule(classes=("x",)), MaskRule(labels={"x": 255})):
        with pytest.raises(DataError, match=rf"a\.png: {form} changes the values of a mask.*dataset\.threshold"):
            read(rule, path)
    if form == "JPEG":
        found = read(MaskRule(classes=("x",), threshold=128), path)[:, :, 0]
        assert abs(int(found.sum()) - int(DISK.sum())) <= 0.05 * DISK.sum()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fractions_that_are_whole_numbers_are_labels_and_others_are_refused(tmp_path, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, (DISK * 2).astype(dtype))
    assert np.array_equal(read(MaskRule(labels={"x": 2}), path)[:, :, 0], DISK)
    for odd in (0.5, np.nan, np.inf):
        tifffile.imwrite(path, np.where(DISK, odd, 0).astype(dtype))
        with pytest.raises(DataError, match=r"a\.tif: has values of type float"):
            read(MaskRule(labels={"x": 1}), path)


def test_a_mask_that_was_not_turned_as_its_image_is_told_of_the_tag(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 6
    image = save(tmp_path / "image.png", DISK.T.astype(np.uint8).copy(), exif=tag)
    mask = save(tmp_path / "a.png", DISK.T.astype(np.uint8).copy())
    with pytest.raises(DataError, match=r"turned by its tag of orientation \(6\), and the mask is not: save both"):
        MaskRule(labels={"x": 1}).mask([mask], SHAPE, image, page=None)


def color_mask():
    colors = np.zeros((*SHAPE, 3), np.uint8)
    colors[DISK] = RED
    colors[:3] = GREEN
    return colors


@pytest.mark.parametrize("form", ["png", "bmp", "webp", "gif", "tif"])
def test_colors(tmp_path, form):
    path = tmp_path / f"a.{form}"
    save(path, color_mask(), **({"lossless": True} if form == "webp" else {}))
    rule = MaskRule(colors=parse_colors({"liver": "#ff0000", "spleen": [0, 255, 0]}))
    mask = read(rule, path)
    assert np.array_equal(mask[:, :, 1], ROWS < 3) and np.array_equal(mask[:, :, 0], DISK & (ROWS >= 3))


def test_colors_that_nothing_explains(tmp_path):
    colors = color_mask()
    colors[23, :4] = (1, 2, 3)
    path = save(tmp_path / "a.png", colors)
    rule = {"liver": RED, "spleen": GREEN}
    with pytest.raises(DataError, match=r"4 of 768 pixels \(0\.5%\) have a color .*\(#010203\).*is up to 4\)"):
        read(MaskRule(colors=rule), path)
    assert not read(MaskRule(colors=rule, tolerance=4), path)[23, :4].any()
    assert (read(MaskRule(colors=rule | {"ignore": (1, 2, 3)}), path)[23, :4] == IGNORE).all()
    assert not read(MaskRule(colors=rule | {"background": (1, 2, 3)}), path)[23, :4].any()
    with pytest.raises(DataError, match=r"is a color image; tell what its colors mean with dataset\.colors"):
        read(MaskRule(labels={"x": 1}), path)


def test_colors_with_transparency_are_refused_by_what_masks_can_do(tmp_path):
    path = save(tmp_path / "a.png", np.dstack([color_mask(), DISK * np.uint8(255)]))
    with pytest.raises(DataError, match=r"is a mask with an alpha channel.*save the mask without transparency"):
        read(MaskRule(colors={"liver": RED, "spleen": GREEN}), path)
    save(path, np.dstack([color_mask(), np.full(SHAPE, 255, np.uint8)]))
    assert read(MaskRule(colors={"liver": RED, "spleen": GREEN}), path).any()


def test_a_jpeg_of_colors_with_a_tolerance(tmp_path):
    path = save(tmp_path / "a.jpg", color_mask(), quality=95, subsampling=0)
    with pytest.raises(DataError, match=r"JPEG changes.*dataset\.tolerance"):
        read(MaskRule(colors={"liver": RED, "spleen": GREEN}), path)
    mask = read(MaskRule(colors={"liver": RED, "spleen": GREEN}, tolerance=200), path)
    assert (mask[:, :, 1] != (ROWS < 3)).mean() < 0.01


@pytest.mark.parametrize(
    ("colors", "words"),
    [
        ({"a": "red"}, 'is no color; write "#ff0000"'), ({"a": [1, 2]}, "is no color"),
        ({"a": [0, 0, 256]}, "is no color"),
        ({"a": "#ff0000", "b": [255, 0, 0]}, "a and b have the same color"),
        ({"background": "#ffffff"}, "names no class"),
    ],
)  # fmt: skip
def test_wrong_colors(colors, words):
    with pytest.raises(DataError, match=words):
        parse_colors(colors)
    assert hexadecimal(np.array([255, 0, 16])) == "#ff0010"


def test_a_mask_in_the_alpha_channel(tmp_path):
    path = save(tmp_path / "a.png", np.dstack([np.zeros((*SHAPE, 3), np.uint8), (DISK * 255).astype(np.uint8)]))
    with pytest.raises(DataError, match=r'alpha channel.*dataset\.mask_from = "alpha"'):
        read(MaskRule(classes=("x",)), path)
    for rule in (MaskRule(classes=("x",), source="alpha"), MaskRule(labels={"x": 255}, source="alpha")):
        assert np.array_equal(read(rule, path)[:, :, 0], DISK)


def test_an_opaque_alpha_and_a_palette(tmp_path):
    opaque = np.dstack([np.repeat(DISK[..., None], 3, axis=2).astype(np.uint8), np.full(SHAPE, 255, np.uint8)])
    rule = MaskRule(labels={"x": 1})
    assert np.array_equal(read(rule, save(tmp_path / "a.png", opaque))[:, :, 0], DISK)
    image = Image.fromarray(DISK.astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 90, 90, 90])
    image.save(tmp_path / "b.png", transparency=0)
    assert np.array_equal(read(rule, tmp_path / "b.png")[:, :, 0], DISK)


def test_a_class_that_has_no_file():
    assert not MaskRule(classes=("x",)).mask([None], SHAPE, Path("i"), page=None).any()
    assert not MaskRule(labels={"x": 1}, background=(3,)).mask([None], SHAPE, Path("i"), page=None).any()
    assert not MaskRule(colors={"x": RED}).mask([None], SHAPE, Path("i"), page=None).any()
