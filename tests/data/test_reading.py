"""A dataset's readers: values that no network can use are refused wherever they come from, and defects are named."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.components.augmentation.none import none
from gisegkit.components.datasets.folder import Folder
from gisegkit.components.normalizations import FileType, Maximum, Percentile, Unchanged, Window, ZScore
from gisegkit.data.inputs import Input
from gisegkit.data.intensities import UNITS, keeps_zero
from gisegkit.data.loaders import EpochSampler, EvaluationSet, TrainingSet, evaluation_loader, training_loader
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.reading import check_size, name_of, not_finite, read_mask, read_slice
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store
from gisegkit.data.survey import survey
from gisegkit.engine.device import pick_device
from gisegkit.engine.device_cache import Resident
from gisegkit.errors import ComponentError, DataError
from gisegkit.recipe.load import load_recipe
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import train

SIZE = (16, 12)
PATTERN = r"(?P<scan>v\d)_(?P<position>\d)"
BAD = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "fill": 1e300}
LAYOUTS = {"off": None, "native": Layout(), "size": Layout(SIZE, "fit", "linear"), "area": Layout(SIZE, "fit", "area")}

NORMALIZATIONS = {
    **{f"{kind.__name__} over {unit}": kind(over=unit) for kind in (Maximum, Percentile, ZScore) for unit in UNITS},
    "Window": Window(level=0.5, width=0.8),
    "FileType": FileType(),
    "Unchanged": Unchanged(),
}

RECIPE = """
name = "spoilt"
[dataset]
name = "folder"
root = "{root}"
labels = {{a = 1}}
unlabelled = "new"
pattern = '{pattern}'
[input]
size = [32, 32]
[split]
folds = 2
[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
depth = 3
decoder_channels = [16, 8, 8]
[[loss]]
name = "bce"
[augmentation]
name = "none"
[optimizer]
name = "adam"
[train]
epochs = 1
batch_size = 4
micro_batch = 4
activation_checkpointing = "off"
workers = 0
[[metric]]
name = "dice"
"""


def write(root, *, bad=None, where="images/v1_1", scans=2):
    """Scans of three float images with masks, and one of two that has none; one pixel of one image is bad."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks", "new"):
        (root / part).mkdir(parents=True)
    names = [f"images/v{scan}_{position}" for scan in range(scans) for position in range(3)]
    for name in [*names, "new/v8_0", "new/v8_1"]:
        image = rng.random((9, 7)).astype(np.float64 if bad == 1e300 else np.float32)
        if name == where and bad is not None:
            image[4, 3] = bad
        assert cv2.imwrite(str(root / f"{name}.tif"), image)
    for name in names:
        mask = (rng.random((9, 7)) < 0.5).astype(np.uint8)
        assert cv2.imwrite(str(root / f"{name.replace('images', 'masks')}.png"), mask)
    return root


def make(root, name, layout, home, rows=None):
    """The way to the network; the slices are prepared without refusing any."""
    dataset = Folder(root=str(root), labels={"a": 1}, pattern=PATTERN, unlabelled="new")
    store = None
    if layout is not None:
        store = Store(dataset, name="folder", layout=layout, home=home)
        store.prepare([0])
    preprocess = Preprocess(NORMALIZATIONS[name], SIZE, "fit", "linear")
    return Input(SliceReader(dataset, slices=3, stride=1, edge="clamp", preprocess=preprocess, store=store))


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A folder for each kind of bad pixel."""
    return {name: write(tmp_path_factory.mktemp("spoilt") / "data", bad=value) for name, value in BAD.items()}


WAYS = [  # what does more than divide works on native slices
    (name, layout)
    for name, normalization in NORMALIZATIONS.items()
    for layout in (LAYOUTS if keeps_zero(normalization) else ("off", "native"))
]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(("name", "layout"), WAYS)
@pytest.mark.slow
def test_every_way_to_the_network_refuses_them(spoilt, tmp_path, name, layout, kind):
    source = make(spoilt[kind], name, LAYOUTS[layout], tmp_path)
    problem = r"image v1_1 \(.*images/v1_1\.tif\): 1 of 63 values are (not finite \(|beyond 1e\+30, ).*repair the file"
    with pytest.raises(DataError, match=problem):
        source.image(4)
    with pytest.raises(DataError, match=problem):
        source.image(5)  # a neighbor of it
    samples, sampler = TrainingSet(source, none(size=SIZE), seed=0), EpochSampler([3, 4], batch_size=2, seed=0)
    with pytest.raises(DataError, match=problem):
        list(training_loader(samples, sampler, workers=0, pin=False))
    with pytest.raises(DataError, match=problem):
        list(evaluation_loader(EvaluationSet(source, range(6)), batch_size=2, workers=0, pin=False))
    with pytest.raises(DataError, match=problem):
        Resident(source, [0, 4]).load(pick_device("cpu", "fp32"), sampler)
    assert np.isfinite(source.image(1)).all()  # another scan


@pytest.mark.parametrize("layout", ["native", "size"])
def test_preparing_names_all_of_them_at_once_and_the_next_command_too(tmp_path, layout):
    root = write(tmp_path / "data", bad=np.nan)
    image = np.full((9, 7), np.inf, np.float32)
    assert cv2.imwrite(str(root / "images" / "v0_2.tif"), image)
    dataset = Folder(root=str(root), labels={"a": 1}, pattern=PATTERN, unlabelled="new")
    for _ in range(2):  # the second time everything is prepared already
        store = Store(dataset, name="folder", layout=LAYOUTS[layout], home=tmp_path / "home")
        with pytest.raises(DataError) as caught:
            store.prepare(range(6))
        first, second = str(caught.value).splitlines()
        assert "v0_2.tif): 63 of 63 values are not finite (0 NaN, 63 infinite)" in first
        assert "v1_1.tif): 1 of 63 values are not finite (1 NaN, 0 infinite)" in second
    assert store.prepare([0, 1]).made == 0  # what a run does not use does not stop it
    assert store.prepare(range(6), build=False).slices == 6  # giseg data and predict say it slice by slice


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [(name, 0, 1e-50) for name in NORMALIZATIONS if " over " in name]
    + [(name, -1e20, 1e-44) for name in NORMALIZATIONS if name.startswith("Maximum")],
)
def test_fractions_too_small_to_divide_by_are_refused_not_blown_up(tmp_path, name, low, high):
    root = write(tmp_path / "data")
    image = np.linspace(high / 2, high, 63).reshape(9, 7)
    image[0, 0] = low
    for position in range(3):
        assert cv2.imwrite(str(root / "images" / f"v1_{position}.tif"), image)
    source = make(root, name, None, tmp_path)
    with pytest.raises(
        DataError, match=rf"v1_0.*({name.split()[0]}: .*not finite once they are divided|largest value is 1e-50)"
    ):
        source.image(3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, session):
    """A run whose slices for prediction hold one that is spoilt."""
    root = write(tmp_path_factory.mktemp("trained") / "data", bad=np.nan, where="new/v8_1")
    recipe = root.parent / "recipe.toml"
    recipe.write_text(RECIPE.format(root=root.as_posix(), pattern=PATTERN))

    def load(*overrides):
        return load_recipe(recipe, registries=session.plugins.registries, overrides=overrides)

    return train(session.experiment(load()), root.parent / "run"), load


@pytest.mark.parametrize("store", ["off", "resized"])
@pytest.mark.slow
def test_prediction_makes_no_row_of_them(trained, session, store):
    run, load = trained
    recipe = load(f"input.store={store}", "predict.part=unlabelled")
    with pytest.raises(DataError, match=r"image v8_1 \(.*new/v8_1\.tif\): 1 of 63 values are not finite"):
        predict(run, session.experiment(recipe))
    assert not list(run.path.rglob("*submission*"))


@pytest.mark.parametrize("store", ["off", "native", "resized", "device"])
def test_training_names_the_image_and_not_the_learning_rate(tmp_path, session, store):
    root = write(tmp_path / "data", bad=np.nan)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(root=root.as_posix(), pattern=PATTERN))
    overrides = (f"input.store={store}", "normalization.name=dtype", "split.folds=1")
    recipe = load_recipe(tmp_path / "recipe.toml", registries=session.plugins.registries, overrides=overrides)
    with pytest.raises(DataError, match=r"v1_1\.tif\): 1 of 63 values are not finite") as caught:
        train(session.experiment(recipe), tmp_path / "run")
    assert "learning rate" not in str(caught.value)


def test_the_survey_lists_every_one(tmp_path):
    root = write(tmp_path / "data", bad=np.nan)
    assert cv2.imwrite(str(root / "new" / "v8_0.tif"), np.full((9, 7), -np.inf, np.float32))
    found = survey(Folder(root=str(root), labels={"a": 1}, pattern=PATTERN, unlabelled="new"))
    lines = [one.what for one in found.findings if one.severity == "error"]
    assert [line.split(";")[0] for line in lines] == [
        f"image v1_1 ({root}/images/v1_1.tif): 1 of 63 values are not finite (1 NaN, 0 infinite)",
        f"image v8_0 ({root}/new/v8_0.tif): 63 of 63 values are not finite (0 NaN, 63 infinite)",
    ]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.float32([[0, 1]]), ""),
        (np.uint16([[0, 65535]]), ""),
        (np.float32([[np.nan, np.inf, -np.inf]]), "3 of 3 values are not finite (1 NaN, 2 infinite)"),
        (np.float32([[-3.4e38, 0]]), "1 of 2 values are beyond 1e+30, too large to compute with (a fill value?)"),
    ],
)
def test_what_is_wrong_in_words(image, words):
    assert not_finite(image) == words


# --- defects of plugins -----------------------------------------------------------------------------------------------


class Plugin:
    """One slice of 4 x 5 pixels and two classes."""

    classes = ("a", "b")
    exclusive = False
    dropped = ()

    def __init__(self, image=None, mask=None):
        self._image, self._mask = image, mask
        columns = {"id": "s3", "scan": "v", "position": 0, "case": "g", "height": 4, "width": 5}
        self.table = pd.DataFrame([columns | {"labelled": True, "empty": False}])

    def image(self, row):
        return self._image

    def mask(self, row):
        return self._mask


@pytest.mark.parametrize(
    ("mask", "given"),
    [
        (np.zeros((4, 5), np.uint8), r"\[4, 5\] uint8"),
        (np.zeros((2, 4, 5), np.uint8), r"\[2, 4, 5\] uint8"),
        (np.full((4, 5, 2), np.nan), r"\[4, 5, 2\] float64"),
        (np.full((4, 5, 2), 256), r"\[4, 5, 2\] int64"),
        (None, "a NoneType"),
    ],
)
def test_masks_that_are_none_are_refused_with_their_slice(mask, given):
    dataset = Plugin(mask=mask)
    dataset.registered_as = "dataset 'x' of giseg-x 1.0"
    with pytest.raises(ComponentError, match=rf"dataset 'x' of giseg-x 1.0: mask\(0\) gives {given} for slice s3"):
        read_mask(dataset, 0)


@pytest.mark.parametrize("kind", [bool, np.int64, np.float32])
def test_masks_of_other_types_mean_the_same(kind):
    mask = np.eye(4, 5)[:, :, None].repeat(2, axis=2)
    found = read_mask(Plugin(mask=mask.astype(kind)), 0)
    assert found.dtype == np.uint8 and np.array_equal(found, mask)


def test_images_that_are_none_and_sizes_that_differ_are_refused_with_their_slice():
    with pytest.raises(ComponentError, match=r"Plugin: image\(0\) gives \[2, 1, 4, 5\] float64 for slice s3"):
        read_slice(Plugin(image=np.zeros((2, 1, 4, 5))), 0)
    with pytest.raises(DataError, match=r"mask of slice s3 is 5 x 4 .* Plugin says 4 x 5|mask of slice s3 is 5 x 4"):
        check_size(Plugin(), 0, image=np.zeros((4, 5, 1)), mask=np.zeros((5, 4, 2)))
    assert read_slice(Plugin(image=np.zeros((4, 5))), 0).shape == (4, 5, 1)


def test_a_component_is_called_as_in_the_recipe_where_that_is_known(registries):
    assert name_of(Plugin()).endswith("Plugin") and name_of(none) == "gisegkit.components.augmentation.none.none"
