"""Preprocess without a dataset: the network's input of a stack, and the way back, equal to what the readers give."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.components.normalizations import FileType, Maximum, Percentile, Unchanged, Window, ZScore
from gisegkit.data.geometry import make_geometry
from gisegkit.data.inputs import Input
from gisegkit.data.intensities import limits_of
from gisegkit.data.preprocess import CropPreprocess, Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store
from gisegkit.errors import DataError

NORMALIZATIONS = {
    "Maximum": Maximum(),
    "Maximum over stack": Maximum(over="stack"),
    "Percentile over stack": Percentile(over="stack"),
    "ZScore": ZScore(),
    "Window": Window(level=400, width=700),
    "FileType": FileType(),
}


def images(count=3, shape=(30, 26, 1), seed=0):
    return [np.random.default_rng(seed + n).integers(0, 900, shape).astype(np.uint16) for n in range(count)]


class Files:
    """One scan of given slices in PNG files, so that a store can keep them too."""

    classes = ("a",)
    exclusive = False
    dropped = ()

    def __init__(self, root, slices):
        self.root = root
        self.table = pd.DataFrame({"id": [f"s{n}" for n in range(len(slices))], "scan": "v", "case": "c"})
        self.table["position"] = np.arange(len(slices))
        self.table[["height", "width"]] = [image.shape[:2] for image in slices]
        self.table["labelled"] = self.table["empty"] = True
        for number, image in enumerate(slices):
            cv2.imwrite(f"{root}/{number}.png", image)

    def image(self, row):
        return cv2.imread(f"{self.root}/{row}.png", cv2.IMREAD_UNCHANGED)

    def mask(self, row):
        return (self.image(row)[:, :, None] > 450).astype(np.uint8)

    def sources(self, row):
        return [f"{self.root}/{row}.png"], ""


def read(dataset, preprocess, row, *, store=None, slices=3, edge="clamp"):
    return Input(SliceReader(dataset, slices=slices, stride=1, edge=edge, preprocess=preprocess, store=store)).image(
        row
    )


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("interpolation", ["linear", "nearest", "area"])
def test_a_stack_in_memory_is_what_a_dataset_gives_with_and_without_a_store(tmp_path, name, interpolation):
    slices = images()
    dataset, normalization = Files(tmp_path, slices), NORMALIZATIONS[name]
    preprocess = Preprocess(normalization, (20, 16), "fit", interpolation)
    pure = preprocess(slices)
    assert pure.shape == (3, 20, 16) and pure.dtype == np.float32
    assert np.array_equal(read(dataset, preprocess, 1).transpose(2, 0, 1), pure)
    sized = getattr(normalization, "keeps_zero", False)
    layout = Layout((20, 16), "fit", interpolation) if sized else Layout()
    store = Store(dataset, name="files", layout=layout, home=tmp_path / "cache")
    store.prepare(range(3))
    assert np.array_equal(read(dataset, preprocess, 1, store=store).transpose(2, 0, 1), pure)


def test_the_formula_by_hand():
    first, second = np.array([[[2], [8]]], np.uint16), np.array([[[1], [4]]], np.uint16)
    assert Preprocess(Maximum())([first, second]).tolist() == [[[0.25, 1.0]], [[0.25, 1.0]]]
    assert Preprocess(Maximum(over="stack"))([first, second]).tolist() == [[[0.25, 1.0]], [[0.125, 0.5]]]
    window = Preprocess(Window(level=4, width=4))([first, None])
    assert window.tolist() == [[[0.0, 1.0]], [[0.0, 0.0]]], "2 is the window's lower end, 8 beyond its upper; zeros"


def test_at_an_edge_a_stack_has_an_image_twice_or_zeros(tmp_path):
    slices = images()
    dataset, preprocess = Files(tmp_path, slices), Preprocess(ZScore(), (20, 16))
    assert np.array_equal(
        preprocess([slices[0], slices[0], slices[1]]), read(dataset, preprocess, 0).transpose(2, 0, 1)
    )
    zeros = read(dataset, preprocess, 0, edge="zero").transpose(2, 0, 1)
    assert np.array_equal(preprocess([None, slices[0], slices[1]]), zeros)


def test_the_line_of_a_scan_must_be_given(tmp_path):
    slices = images()
    preprocess = Preprocess(Percentile(over="scan"), (20, 16))
    with pytest.raises(DataError, match="over scans: give the line of the whole scan"):
        preprocess(slices[:1])
    line = preprocess.scale([limits_of(image) for image in slices], slices)
    expected = read(Files(tmp_path, slices), preprocess, 2, slices=1)
    assert np.array_equal(preprocess(slices[2:], [line]).transpose(1, 2, 0), expected)


def test_one_array_under_two_lines_is_two_images():
    image = np.full((2, 2, 1), 6, np.uint16)
    preprocess = Preprocess(Maximum())
    lines = [preprocess.scale([(0, top, 65535)]) for top in (6, 12)]
    assert preprocess([image, image], lines)[:, 0, 0].tolist() == [1.0, 0.5]


@pytest.mark.parametrize("resize", ["stretch", "fit"])
@pytest.mark.parametrize("native", [(30, 26), (20, 16), (7, 41)])
def test_the_way_back_is_that_of_the_geometry(resize, native):
    preprocess = Preprocess(Unchanged(), (20, 16), resize)
    values = np.random.default_rng(0).random((20, 16, 2), dtype=np.float32)
    expected = make_geometry(resize, native, (20, 16), "linear").invert(values)
    assert np.array_equal(preprocess.invert(values, native), expected) and expected.shape == (*native, 2)
    with pytest.raises(DataError, match="20 x 16"):
        preprocess.invert(values[1:], native)


def test_without_a_size_images_stay_as_they_are():
    (image,) = images(1)
    preprocess = Preprocess(Unchanged())
    assert np.array_equal(preprocess([image])[0], image[:, :, 0])
    values = np.ones((30, 26, 2), np.float32)
    assert np.array_equal(preprocess.invert(values, (30, 26)), values)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_crops_are_drawn_for_training_and_whole_slices_at_their_scale_for_the_rest(scale):
    slices = images(2, (40, 60, 1))
    preprocess = CropPreprocess(Maximum(), (8, 12), scale_by=scale)
    assert preprocess(slices).shape == (2, round(40 * scale), round(60 * scale))
    truth = np.zeros((40, 60, 1), np.uint8)
    crop = preprocess.crop(truth, np.random.default_rng(3))
    again = preprocess.crop(truth, np.random.default_rng(3))
    assert crop == again and preprocess(slices, crop=crop).shape == (2, 8, 12)
    if scale == 1:
        part = preprocess(slices)[:, crop.top : crop.top + 8, crop.left : crop.left + 12]
        assert np.array_equal(preprocess(slices, crop=crop), part)


def test_a_crop_has_the_line_of_its_whole_slice():
    image = np.zeros((40, 40, 1), np.uint16)
    image[0, 0] = 100
    image[30:, 30:] = 10
    preprocess = CropPreprocess(Maximum(), (8, 8), around=1.0)
    truth = np.zeros((40, 40, 1), np.uint8)
    truth[36, 36] = 1
    crop = preprocess.crop(truth, np.random.default_rng(0))
    assert np.allclose(preprocess([image], crop=crop), 0.1)
