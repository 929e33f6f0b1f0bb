"""What is said of slices and masks is right; the expected numbers are counted by hand or by scipy."""

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage

from gisegkit.build.draft.facts import look, width, widths
from gisegkit.errors import DataError


class Toy:
    """A data set of arrays."""

    exclusive = False
    classes = ("a", "b")

    def __init__(self, images, masks, *, scans=None, positions=None):
        count = len(images)
        self.images, self.masks = images, masks
        self.table = pd.DataFrame({"id": [f"s{row}" for row in range(count)]})
        self.table["scan"] = scans or self.table["id"]
        self.table["position"] = positions or 0
        self.table["case"] = self.table["scan"]
        self.table["height"] = [image.shape[0] for image in images]
        self.table["width"] = [image.shape[1] for image in images]
        self.table["labelled"] = [mask is not None for mask in masks]
        self.table["empty"] = [mask is not None and not mask.any() for mask in masks]

    def image(self, row):
        return self.images[row]

    def mask(self, row):
        return self.masks[row]


def mask(height=16, width=16, **boxes):
    """A mask with a box (rows, columns from the corner) of each class that is given."""
    made = np.zeros((height, width, 2), dtype=np.uint8)
    for name, (rows, columns) in boxes.items():
        made[:rows, :columns, Toy.classes.index(name)] = 1
    return made


def gray(value=100, height=16, width=16, dtype=np.uint8):
    return np.full((height, width), value, dtype=dtype)


def test_shares_are_of_all_labelled_slices_although_only_those_with_a_class_are_read():
    masks = [mask(a=(8, 8)), mask(a=(16, 8), b=(4, 4)), mask(), mask(), None]
    facts = look(Toy([gray()] * 5, masks))
    assert (facts.slices, facts.labelled, facts.looked, facts.cases) == (5, 4, 2, 4)
    assert facts.shares == pytest.approx({"a": (64 + 128) / (4 * 256), "b": 16 / (4 * 256)})
    assert facts.present == pytest.approx({"a": 0.5, "b": 0.25})
    assert facts.rarest == facts.shares["b"] and facts.absent == []


def test_shares_are_of_pixels_although_slices_differ_in_size():
    masks = [mask(a=(8, 8)), mask(height=32, width=64, a=(16, 16)), mask(height=8, width=8)]
    images = [gray(), gray(height=32, width=64), gray(height=8, width=8)]
    assert look(Toy(images, masks)).shares["a"] == pytest.approx((64 + 256) / (256 + 2048 + 64))


def test_a_class_that_never_occurs_is_absent_and_not_the_rarest():
    facts = look(Toy([gray()], [mask(a=(8, 8))]))
    assert facts.absent == ["b"] and facts.rarest == facts.shares["a"]
    assert facts.thinnest < 16


def test_slices_are_spread_where_there_are_many():
    facts = look(Toy([gray(value) for value in range(10)], [mask(a=(2, 2))] * 10), most=4)
    assert facts.looked == 4 and (facts.low, facts.high) == (0, 9)


@pytest.mark.parametrize("side", [2, 4, 6, 10])
def test_the_width_of_a_strip_is_its_width(side):
    plane = np.zeros((64, 64), dtype=bool)
    plane[:, 20 : 20 + side] = True
    assert width(plane) == pytest.approx(side)


def test_the_width_of_a_disk_is_two_thirds_of_its_diameter():
    rows, columns = np.mgrid[:201, :201]
    plane = (rows - 100) ** 2 + (columns - 100) ** 2 < 60**2
    assert width(plane) == pytest.approx(2 / 3 * 120, rel=0.03)


def test_each_object_has_its_own_width_as_scipy_labels_and_measures():
    rng = np.random.default_rng(0)
    plane = scipy.ndimage.gaussian_filter(rng.normal(size=(80, 90)), 3) > 0.05
    labels, number = scipy.ndimage.label(plane, structure=np.ones((3, 3)))
    distances = scipy.ndimage.distance_transform_edt(plane)
    expected = 4 * scipy.ndimage.mean(distances, labels, range(1, number + 1)) - 2
    assert number > 3
    assert sorted(widths(plane)) == pytest.approx(sorted(expected), abs=1e-3)


def test_a_plane_that_is_full_or_empty_has_a_width():
    assert width(np.ones((8, 32), dtype=bool)) == pytest.approx(6)  # as a strip of its shorter side, less two
    assert widths(np.zeros((8, 8), dtype=bool)) == []


def test_what_is_between_the_classes_may_be_the_finest_structure():
    made = mask(a=(16, 16))
    made[:, 7:9] = 0  # two columns between two large objects
    facts = look(Toy([gray()], [made]))
    assert facts.gap == pytest.approx(2) and facts.thinnest == facts.gap


@pytest.mark.parametrize(
    ("positions", "step", "share"),
    [([0, 1, 2, 3], 1, 1.0), ([0, 10, 20, 40], 10, 0.75), ([0, 2, 4, 7], 2, 0.75), ([0, 1, 5, 9], 4, 0.75)],
)
def test_neighbors_are_counted_at_the_most_frequent_distance(positions, step, share):
    facts = look(Toy([gray()] * 4, [mask(a=(2, 2))] * 4, scans=["x"] * 4, positions=positions))
    assert (facts.step, facts.neighbors) == (step, share)


def test_slices_of_different_scans_are_no_neighbors():
    facts = look(Toy([gray()] * 4, [mask(a=(2, 2))] * 4))
    assert (facts.step, facts.neighbors, facts.scans) == (0, 0.0, 4)


def test_sizes_are_the_median_and_the_extremes():
    shapes = [(16, 32), (16, 16), (32, 32)]
    images = [gray(height=height, width=width) for height, width in shapes]
    facts = look(Toy(images, [mask(*shape, a=(2, 2)) for shape in shapes]))
    assert facts.size == (16, 32) and facts.sizes == ((16, 16), (32, 32)) and facts.stretch == 2


def test_values_are_described():
    images = [gray(-1024, dtype=np.int16), gray(40, dtype=np.int16)]
    images[1][0, 0] = 900
    facts = look(Toy(images, [mask(a=(4, 4))] * 2))
    assert (facts.dtype, facts.low, facts.high, facts.channels) == ("int16", -1024, 900, 1)
    inside = np.concatenate([image[:4, :4].reshape(-1) for image in images])
    assert facts.inside == pytest.approx(tuple(np.percentile(inside, (0.5, 99.5))))


def test_exposure_is_how_much_brighter_bright_slices_are_than_dark_ones():
    bright = [gray(value) for value in (20, 20, 60, 60)]
    assert look(Toy(bright, [mask(a=(2, 2))] * 4)).exposure == pytest.approx(3)
    assert look(Toy([gray(0)], [mask(a=(2, 2))])).exposure == 1


def test_what_cannot_be_trained_on_is_refused_with_its_name():
    color = np.zeros((16, 16, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="s0 has 1 channel and s1 has 3 channels"):
        look(Toy([gray(), color], [mask(a=(2, 2))] * 2))
    with pytest.raises(DataError, match="s1 has values that are not finite"):
        look(Toy([gray(1, dtype=np.float32), gray(np.nan, dtype=np.float32)], [mask(a=(2, 2))] * 2))
    with pytest.raises(DataError, match="none of the 2 slices with masks has a pixel"):
        look(Toy([gray()] * 2, [mask()] * 2))
