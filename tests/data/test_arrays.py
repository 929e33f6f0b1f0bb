"""Slices in memory: what is one slice, what is a scan, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gisegkit.data.arrays import Arrays, slices_of
from gisegkit.data.dataset_check import breaches, contradictions
from gisegkit.errors import DataError


def filled(*shape, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "channels", "count", "single"),
    [
        ((20, 24), 1, 1, True),
        ((20, 24, 1), 1, 1, True),
        ((7, 20, 24), 1, 7, False),
        ((1, 20, 24), 1, 1, False),
        ((3, 20, 24), 1, 3, False),
        ((7, 20, 24, 1), 1, 7, False),
        ((7, 20, 3, 1), 1, 7, False),
        ((20, 24, 3), 3, 1, True),
        ((7, 20, 24, 3), 3, 7, False),
        ((3, 20, 3, 3), 3, 3, False),
    ],
)
def test_the_form_is_told_from_shape_and_channels(shape, channels, count, single):
    images = filled(*shape)
    slices, alone = slices_of(images, channels=channels, stack=3)
    assert alone is single
    assert len(slices) == count
    assert {image.ndim for image in slices} == {3}
    assert {image.shape[2] for image in slices} == {channels}
    np.testing.assert_array_equal(np.stack(slices).reshape(shape), images)


def test_a_list_is_a_scan_whatever_its_slices_look_like():
    gray = [filled(20, 24), filled(20, 24, 1)]
    slices, single = slices_of(gray, channels=1, stack=1)
    assert not single
    assert [image.shape for image in slices] == [(20, 24, 1)] * 2
    slices, single = slices_of((filled(20, 3, 3),), channels=3, stack=1)
    assert not single
    assert slices[0].shape == (20, 3, 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("float64", "float32"),
        ("float16", "float32"),
        (">f4", "float32"),
        (">u2", "uint16"),
        ("uint8", "uint8"),
        (">i2", "int16"),
    ],
)
def test_types_become_those_of_a_data_set(given, expected):
    slices, _ = slices_of(filled(5, 6, dtype=given), channels=1, stack=1)
    assert slices[0].dtype == np.dtype(expected)
    np.testing.assert_array_equal(slices[0][:, :, 0], filled(5, 6))


def test_a_tensor_is_an_array_too():
    slices, single = slices_of(torch.ones(5, 6), channels=1, stack=1)
    assert single
    assert slices[0].shape == (5, 6, 1)


def with_value(value):
    images = filled(2, 6, 8, dtype="float32")
    images[1, 2, 3] = value
    return images


@pytest.mark.parametrize(
    ("images", "channels", "words"),
    [
        ([], 1, "images is empty"),
        (filled(0, 20, 24), 1, r"images is empty: its shape is \[0, 20, 24\]"),
        ([filled(20, 24), filled(0, 24)], 1, r"images\[1\] is empty"),
        (filled(20), 1, r"the shape \[20\], and .* gray slices; give \[H, W\]"),
        (filled(2, 2, 2, 8, 8), 1, r"the shape \[2, 2, 2, 8, 8\]"),
        ([filled(2, 20, 24)], 1, r"images\[0\] has the shape \[2, 20, 24\].*gray slices"),
        (np.float32(3), 1, r"the shape \[\]"),
        (filled(20, 24), 3, r"\[20, 24\], and the network was trained on slices of 3 channels; give \[H, W, 3\]"),
        (filled(7, 20, 24), 3, r"the shape \[7, 20, 24\], .* of 3 channels; give \[H, W, 3\]"),
        (filled(7, 20, 24, 1), 3, r"images\[0\] has the shape \[20, 24, 1\]"),
        (filled(20, 24, 4), 3, r"the shape \[20, 24, 4\]"),
        (filled(20, 24, 3), 1, r"\[20, 24, 3\] are ambiguous.*scan of 20 slices, 24 x 3"),
        (filled(20, 24, 5), 1, r"\[20, 24, 5\] are ambiguous"),
        (filled(7, 20, 24, 3), 1, r"images\[0\] has the shape \[20, 24, 3\].*gray"),
        ([filled(20, 24), filled(24, 20)], 1, r"images\[1\] is 24 x 20 .* images\[0\] is 20 x 24"),
        (with_value(np.nan), 1, "images: 1 of 96 values are not finite"),
        (list(with_value(np.inf)), 1, r"images\[1\]: 1 of 48 values are not finite"),
        (filled(4, 4, dtype="float64") + 1e300, 1, "not finite"),
        (filled(4, 4, dtype="int64"), 1, "of type int64; give an array of uint8, uint16, int16 or float32"),
        (filled(4, 4, dtype="bool"), 1, "of type bool"),
        (filled(4, 4, dtype="complex64"), 1, "of type complex64"),
        (["slice.png"], 1, r"images\[0\]: str of type"),
        (None, 1, "images: NoneType of type object"),
        (iter([filled(4, 4)]), 1, "of type object"),
        (torch.ones(5, 6, requires_grad=True), 1, "cannot be read as an array"),
    ],
)
def test_what_cannot_be_predicted_is_refused_with_its_shape(images, channels, words):
    with pytest.raises(DataError, match=words):
        slices_of(images, channels=channels, stack=5)


def test_arrays_keep_the_contract_of_a_data_set():
    slices = [filled(20, 24, 1), filled(20, 24, 1) + 1]
    dataset = Arrays(slices, ("liver", "spleen"))
    assert breaches(dataset) == []
    assert contradictions(dataset) == []
    assert dataset.table["id"].tolist() == ["images[0]", "images[1]"]
    assert dataset.image(1).flags.c_contiguous
    np.testing.assert_array_equal(dataset.image(1), slices[1])
    with pytest.raises(DataError, match="not labelled"):
        dataset.mask(0)
