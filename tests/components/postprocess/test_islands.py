"""gisegkit.components.postprocess.islands."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gisegkit.components.postprocess import islands
from gisegkit.components.postprocess.islands import FillHoles, LargestComponent, MinArea, MinPixels, components
from gisegkit.engine.decision import Decision
from gisegkit.errors import DataError
from gisegkit.testing import check_postprocess

CLASSES = ("bowel", "liver", "stomach")


@pytest.mark.parametrize("unit", ["slice", "scan"])
@pytest.mark.parametrize("connectivity", ["corners", "sides"])
def test_contract(unit, connectivity):
    for step in (
        MinArea(pixels=5, unit=unit, connectivity=connectivity),
        MinPixels(pixels={"bowel": 5, "default": 40}, classes=("bowel", "liver"), unit=unit),
        LargestComponent(count={"bowel": 2, "default": 1}, classes=("bowel", "liver"), unit=unit),
        FillHoles(largest=3, unit=unit, connectivity=connectivity),
    ):
        assert step.unit == unit
        check_postprocess(step)


def test_removes_smaller_islands_and_keeps_those_of_the_size():
    scan = np.zeros((1, 6, 8, 1), dtype=bool)
    scan[0, 0, :3, 0] = True  # 3 pixels in a row
    scan[0, 3, 6, 0] = scan[0, 4, 7, 0] = True  # 2 pixels that touch at a corner
    assert MinArea(pixels=2)(scan).sum() == 5
    kept = MinArea(pixels=3)(scan)
    assert kept[0, 0, :3, 0].all()
    assert kept.sum() == 3
    assert MinArea(pixels=4)(scan).sum() == 0


def test_slices_and_classes_are_apart():
    scan = np.zeros((3, 4, 4, 2), dtype=bool)
    scan[:, 1, 1, 0] = True  # one pixel in each of three slices
    scan[1, 1, 2, 1] = True  # beside it, another class
    assert MinArea(pixels=2)(scan).sum() == 0
    assert np.array_equal(MinArea(pixels=1)(scan), scan)


@pytest.mark.parametrize("pixels", [1, 3, 10])
def test_equals_scipy_label(pixels):
    scan = np.random.default_rng(pixels).random((4, 30, 23, 3)) < 0.3
    expected = np.zeros_like(scan)
    for d, k in np.ndindex(4, 3):
        labels, count = ndimage.label(scan[d, :, :, k], structure=np.ones((3, 3)))
        for label in range(1, count + 1):
            if (labels == label).sum() >= pixels:
                expected[d, :, :, k] |= labels == label
    assert np.array_equal(MinArea(pixels=pixels)(scan), expected)


def test_a_class_goes_from_slices_where_it_has_too_few_pixels_and_stays_whole_elsewhere():
    scan = np.zeros((2, 6, 8, 3), dtype=bool)
    scan[0, 0, :3], scan[0, 5, 7] = True, True  # 4 pixels of every class, in two islands
    scan[1, 2, :3] = True  # 3 pixels
    step = MinPixels(pixels={"bowel": 4, "liver": 5, "default": 1}, classes=CLASSES)
    kept = step(scan)
    assert np.array_equal(kept[0, ..., 0], scan[0, ..., 0]), "also its island of one pixel"
    assert kept.sum(axis=(1, 2)).tolist() == [[4, 0, 4], [0, 0, 3]]
    assert MinPixels(pixels=7, unit="scan")(scan).sum() == scan.sum(), "7 pixels of each class in the scan"
    assert MinPixels(pixels=8, unit="scan")(scan).sum() == 0


@pytest.mark.parametrize("pixels", [1, 95, 100, 105, 500])
def test_min_pixels_counts(pixels):
    scan = np.random.default_rng(pixels).random((6, 20, 25, 2)) < 0.2
    counts = scan.sum(axis=(1, 2), keepdims=True)
    assert np.array_equal(MinPixels(pixels=pixels)(scan), scan & (counts >= pixels))


def test_min_pixels_is_the_rule_of_a_count_above_a_threshold():
    """Slices whose probabilities are above the threshold in fewer than n pixels are empty; of others all stay."""
    probabilities = np.random.default_rng(0).random((5, 12, 12, 2), dtype=np.float32) ** 4
    decision = Decision(0.6, (MinPixels(pixels=18),))
    above = probabilities >= 0.6
    expected = above & (above.sum(axis=(1, 2), keepdims=True) >= 18)
    found = np.concatenate([decision(probabilities[d : d + 1]) for d in range(5)])
    assert np.array_equal(found, expected) and 0 < expected.any(axis=(1, 2)).sum() < 10


# --- scans and slices, corners and sides ------------------------------------------------------------------------------


def noise(seed, share=0.3, shape=(5, 17, 13, 3)):
    return np.random.default_rng(seed).random(shape) < share


def labels_of(mask, connectivity):
    """scipy's labels of a slice or a scan."""
    rank = mask.ndim if connectivity == "corners" else 1
    return ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, rank))


def expected_of(scan, unit, clean):
    """``clean(mask, k)`` of each class, of every slice or of the scan."""
    result = scan.copy()
    for k in range(scan.shape[3]):
        if unit == "scan":
            result[..., k] = clean(scan[..., k], k)
        else:
            for d in range(len(scan)):
                result[d, ..., k] = clean(scan[d, ..., k], k)
    return result


@pytest.mark.parametrize("unit", ["slice", "scan"])
@pytest.mark.parametrize("connectivity", ["corners", "sides"])
@pytest.mark.parametrize("share", [0.1, 0.35])
def test_islands_equal_those_of_scipy(unit, connectivity, share):
    scan = noise(1, share)
    minimum, count = {"bowel": 2, "liver": 4, "stomach": 9}, {"bowel": 1, "liver": 3, "stomach": 0}

    def large(mask, k):
        labels, _ = labels_of(mask, connectivity)
        sizes = np.bincount(labels.ravel())
        return (labels > 0) & (sizes[labels] >= minimum[CLASSES[k]])

    def largest(mask, k):
        labels, found = labels_of(mask, connectivity)
        if not count[CLASSES[k]]:
            return mask
        sizes = [(labels == label).sum() for label in range(1, found + 1)]
        order = sorted(range(found), key=lambda at: (-sizes[at], np.flatnonzero(labels.ravel() == at + 1)[0]))
        return np.isin(labels, [at + 1 for at in order[: count[CLASSES[k]]]])

    common = {"unit": unit, "connectivity": connectivity, "classes": CLASSES}
    assert np.array_equal(MinArea(pixels=minimum, **common)(scan), expected_of(scan, unit, large))
    assert np.array_equal(LargestComponent(count=count, **common)(scan), expected_of(scan, unit, largest))


@pytest.mark.parametrize("unit", ["slice", "scan"])
@pytest.mark.parametrize("connectivity", ["corners", "sides"])
def test_holes_equal_those_of_scipy(unit, connectivity):
    """scipy's structure is that of the background, which is connected at sides where the class is at corners."""
    scan = noise(2, 0.93)

    def filled(mask, _):
        rank = 1 if connectivity == "corners" else mask.ndim
        return ndimage.binary_fill_holes(mask, ndimage.generate_binary_structure(mask.ndim, rank))

    expected = expected_of(scan, unit, filled)
    found = FillHoles(unit=unit, connectivity=connectivity)(scan)
    assert np.array_equal(found, expected) and expected.sum() > scan.sum()


@pytest.mark.parametrize("unit", ["slice", "scan"])
def test_only_small_holes_are_filled(unit):
    """A hole of 1 pixel and one of 3, in two classes and, in depth, closed by a full slice before and after."""
    scan = np.zeros((3, 7, 9, 2), bool)
    scan[:, 1:6, 1:8] = True
    scan[1, 2, 2] = scan[1, 3, 4:7] = False
    for largest, left in ((0, 4), (1, 3), (2, 3), (3, 0)):
        found = FillHoles(largest={"a": largest, "b": 1}, classes=("a", "b"), unit=unit)(scan)
        assert (~found[1, 1:6, 1:8]).sum((0, 1)).tolist() == [left, 3]
        assert found.sum() - scan.sum() == (4 - left) + 1


def test_a_scan_holds_together_what_slices_take_apart():
    scan = np.zeros((4, 5, 5, 1), bool)
    scan[:, 2, 2] = True  # a thread through all slices
    scan[0, 0, :3] = True  # 3 pixels of the first slice
    assert MinArea(pixels=4, unit="scan")(scan).sum() == 4
    assert MinArea(pixels=3)(scan).sum() == 3
    assert LargestComponent()(scan)[:, 2, 2].all() and LargestComponent()(scan).sum() == 4
    assert LargestComponent(unit="slice")(scan).sum() == 3 + 3


def test_sizes_are_counted_in_chunks(monkeypatch):
    monkeypatch.setattr(islands, "CHUNK", 32)
    mask = np.zeros((3, 1, 32 // 2 + 5), bool)
    mask[:2, 0, ::2] = True
    mask[2, 0, -1] = True
    _, sizes = components(mask, corners=False)
    pixels = 11  # every other one of 21
    assert sizes.sum() == mask.size and sizes[0] == mask.size - mask.sum()
    assert sizes[1:-1].tolist() == [2] * (pixels - 1) and sizes[-1] == 3


@pytest.mark.parametrize(
    "build",
    [
        lambda **given: MinArea(pixels={"stomac": 3, "default": 1}, **given),
        lambda **given: LargestComponent(count={"stomac": 3, "default": 1}, **given),
        lambda **given: FillHoles(largest={"stomac": 3, "default": 1}, **given),
    ],
)
def test_an_unknown_class_is_refused(build):
    with pytest.raises(DataError, match=r"no class 'stomac'; did you mean 'stomach'\?"):
        build(classes=CLASSES)
