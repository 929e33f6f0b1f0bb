"""Geometry: there and back at every size, images and masks aligned, values exact where nothing is scaled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gisegkit.data.geometry import Fit, Stretch, make_geometry
from gisegkit.errors import DataError

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
words = st.tuples(st.sampled_from(["stretch", "fit"]), st.sampled_from(["nearest", "linear", "area"]))


@given(words, sizes, sizes, st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_shapes_ranges_and_values_at_every_size(words, native, size, channels, seed):
    resize, interpolation = words
    rng = np.random.default_rng(seed)
    geometry = make_geometry(resize, native, size, interpolation)
    image = rng.random((*native, channels), dtype=np.float32)
    mask = rng.choice([0, 1, 255], (*native, channels)).astype(np.uint8)
    small = geometry.image(image)
    assert small.shape == (*size, channels)
    assert small.dtype == np.float32
    assert small.min() >= 0
    assert small.max() <= image.max() + 1e-6
    small_mask = geometry.mask(mask)
    assert small_mask.shape == (*size, channels)
    assert small_mask.dtype == np.uint8
    assert set(np.unique(small_mask)) <= set(np.unique(mask)) | {0}
    back = geometry.invert(small)
    assert back.shape == image.shape
    assert back.dtype == np.float32
    assert back.min() >= small.min() - 1e-6
    assert back.max() <= small.max() + 1e-6


@given(words, sizes, sizes)
def test_a_constant_comes_back_constant(words, native, size):
    resize, interpolation = words
    geometry = make_geometry(resize, native, size, interpolation)
    there = geometry.image(np.ones((*native, 2), dtype=np.float32))
    np.testing.assert_allclose(geometry.invert(there), 1, rtol=1e-6)
    assert there.sum() == pytest.approx(geometry.mask(np.ones((*native, 2), dtype=np.uint8)).sum())


@given(words, sizes, st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_scale_one_is_exact_with_every_padding(words, native, below, right, seed):
    """Odd and even paddings, 0 on either or on both sides; only ``fit`` pads, ``stretch`` would scale."""
    resize, interpolation = words
    if resize == "stretch":
        below = right = 0
    if below and right:  # fit would enlarge the slice; one direction at least must have no room
        right = 0
    size = (native[0] + below, native[1] + right)
    rng = np.random.default_rng(seed)
    geometry = make_geometry(resize, native, size, interpolation)
    image = rng.random((*native, 3), dtype=np.float32)
    assert np.array_equal(geometry.invert(geometry.image(image)), image)
    mask = rng.integers(0, 2, (*native, 3)).astype(np.uint8)
    padded = geometry.mask(mask)
    assert padded.sum() == mask.sum()
    assert np.array_equal(geometry.invert(padded.astype(np.float32)), mask)


@pytest.mark.parametrize(
    ("native", "size", "inner", "window"),
    [
        ((310, 360), (224, 224), (193, 224), (slice(15, 208), slice(0, 224))),
        ((266, 266), (224, 224), (224, 224), (slice(0, 224), slice(0, 224))),
        ((266, 266), (320, 384), (320, 320), (slice(0, 320), slice(32, 352))),
        ((10, 10), (10, 13), (10, 10), (slice(0, 10), slice(1, 11))),  # 1 on the left, 2 on the right
        ((1, 1000), (32, 32), (1, 32), (slice(15, 16), slice(0, 32))),
        ((1000, 1), (32, 32), (32, 1), (slice(0, 32), slice(15, 16))),
    ],
)
def test_fit_keeps_the_aspect_ratio_in_the_middle(native, size, inner, window):
    fit = Fit(native, size)
    assert fit.inner == inner
    filled = fit.image(np.ones((*native, 1), dtype=np.float32))[:, :, 0]
    expected = np.zeros(size, dtype=np.float32)
    expected[window] = 1
    np.testing.assert_allclose(filled, expected, rtol=1e-6)


def center(values):
    """Centre of mass in [0, 1], rows and columns, of ``[H, W]``."""
    rows, columns = np.indices(values.shape)
    total = values.sum()
    return (
        ((rows + 0.5) * values).sum() / total / values.shape[0],
        ((columns + 0.5) * values).sum() / total / values.shape[1],
    )


@pytest.mark.parametrize("resize", ["stretch", "fit"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "area"])
@pytest.mark.parametrize("size", [(224, 224), (320, 384), (133, 90), (155, 180), (310, 300), (1000, 700)])
def test_a_marker_stays_where_it_is_in_image_mask_and_back(resize, interpolation, size):
    native = (310, 360)
    marker = np.zeros((*native, 1), dtype=np.uint8)
    marker[100:140, 251:291] = 1
    geometry = make_geometry(resize, native, size, interpolation)
    image = geometry.image(marker.astype(np.float32))
    mask = geometry.mask(marker)
    # each edge of a nearest-neighbor marker lies within half a pixel of its place
    half = [0.5 / small + 0.5 / large for small, large in zip(size, native, strict=True)]
    apart = np.abs(np.subtract(center(image[:, :, 0]), center(mask[:, :, 0])))
    assert (apart <= half).all()
    back = geometry.invert(mask.astype(np.float32))
    assert (np.abs(np.subtract(center(back[:, :, 0]), center(marker[:, :, 0]))) <= half).all()
    assert ((back > 0.5) == marker).mean() > 0.995


def bias(ramp, size):
    """Mean of a resized ramp against the exact one, in output pixels: the systematic shift."""
    exact = (np.arange(size) + 0.5) * len(RAMP) / size
    return float(np.mean(ramp - exact)) * size / len(RAMP)


RAMP = np.arange(310, dtype=np.float32) + 0.5


@pytest.mark.parametrize("size", [224, 154, 180, 133, 320, 1000])  # at 155 the centers lie between two pixels
def test_images_masks_and_the_way_back_are_not_shifted(size):
    image = np.repeat(RAMP[:, None, None], 3, axis=1)
    shifts = [
        bias(Stretch((310, 3), (size, 3), way).image(image)[:, 0, 0], size) for way in ("nearest", "linear", "area")
    ]
    assert np.abs(shifts).max() < 0.02
    back = Stretch((size, 3), (310, 3)).invert(image)
    assert abs(bias(back[:, 0, 0], size)) < 0.02


def test_plain_nearest_of_opencv_would_shift_masks():
    """The trap is real, and the test above would find it."""
    plain = cv2.resize(RAMP[:, None], (1, 155), interpolation=cv2.INTER_NEAREST)[:, 0]
    assert bias(plain, 155) == pytest.approx(-0.25)  # half a pixel of the input
    assert bias(cv2.resize(RAMP[:, None], (1, 62), interpolation=cv2.INTER_NEAREST)[:, 0], 62) == pytest.approx(-0.4)


@given(sizes, sizes, st.integers(0, 2**32 - 1))
def test_nearest_takes_the_pixel_under_the_center(native, size, seed):
    """Against the definition, in exact fractions, one output pixel at a time."""
    from fractions import Fraction

    mask = np.random.default_rng(seed).integers(0, 256, (*native, 1)).astype(np.uint8)
    found = Stretch(native, size).mask(mask)
    for y in {0, size[0] // 2, size[0] - 1}:
        for x in {0, size[1] // 2, size[1] - 1}:
            row = int((Fraction(2 * y + 1, 2)) * native[0] / size[0])
            column = int((Fraction(2 * x + 1, 2)) * native[1] / size[1])
            assert found[y, x, 0] == mask[row, column, 0]


def test_area_is_the_mean_of_the_covered_pixels_in_each_direction():
    image = np.arange(24, dtype=np.float32).reshape(4, 6, 1)
    both = Stretch((4, 6), (2, 3), "area").image(image)
    np.testing.assert_allclose(both[:, :, 0], image.reshape(2, 2, 3, 2).mean(axis=(1, 3)))
    one = Stretch((4, 6), (2, 12), "area").image(image)  # rows shrink, columns grow
    rows = image.reshape(2, 2, 6).mean(axis=1)
    wanted = [np.interp((np.arange(12) + 0.5) / 2 - 0.5, np.arange(6), row) for row in rows]
    np.testing.assert_allclose(one[:, :, 0], wanted, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 5, 9])
def test_every_type_and_number_of_channels(dtype, channels):
    image = np.zeros((12, 10, channels), dtype=dtype)
    image[3:9, 2:8] = 1
    for interpolation in ("nearest", "linear", "area"):
        out = Fit((12, 10), (24, 24), interpolation).image(image)
        assert out.dtype == (np.float64 if dtype is np.float64 else np.float32)
        assert out.shape == (24, 24, channels)
        assert all(np.array_equal(out[:, :, 0], out[:, :, c]) for c in range(channels))


def test_the_input_is_left_alone_and_the_output_is_its_own():
    image = np.ones((8, 8, 1), dtype=np.float32)
    mask = np.ones((8, 8, 1), dtype=np.uint8)
    geometry = Stretch((8, 8), (8, 8))
    for out in (geometry.image(image), geometry.mask(mask), geometry.invert(image)):
        out[:] = 0
    assert image.all()
    assert mask.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("strech", (8, 8), (8, 8), "linear"), "did you mean 'stretch'"),
        (("fit", (8, 8), (8, 8), "cubic"), "valid is nearest, linear, area"),
        (("fit", (0, 8), (8, 8), "area"), "0 x 8"),
    ],
)
def test_wrong_words_and_sizes(arguments, message):
    with pytest.raises(DataError, match=message):
        make_geometry(*arguments)


def test_swapped_height_and_width_are_refused():
    geometry = make_geometry("stretch", (310, 360), (224, 192), "linear")
    with pytest.raises(DataError, match="310 x 360"):
        geometry.image(np.zeros((360, 310, 1), dtype=np.float32))
    with pytest.raises(DataError, match="224 x 192"):
        geometry.invert(np.zeros((192, 224, 1), dtype=np.float32))
