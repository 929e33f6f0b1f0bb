"""Each normalization against NumPy, against the former [input] normalize, and on its way to a network."""

from __future__ import annotations

import itertools
import re

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit import load_run
from gisegkit.build.session import Session
from gisegkit.cli import main
from gisegkit.components.normalizations import FileType, Maximum, Percentile, Unchanged, Window, ZScore
from gisegkit.data.geometry import make_geometry, resized
from gisegkit.data.inputs import Input
from gisegkit.data.intensities import UNITS, Intensities
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.layout import Layout
from gisegkit.errors import ComponentError, DataError, RecipeError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.workflows.train import train

SIZE = (24, 20)
LENGTHS = (4, 3)


class Scans:
    """Two scans of random slices of one type, of 4 and 3 slices."""

    classes, exclusive, dropped = ("a",), False, ()

    def __init__(self, dtype=np.uint16, low=0.0, high=3000.0):
        rng = np.random.default_rng(5)
        places = [(f"v{scan}", position) for scan, count in enumerate(LENGTHS) for position in range(count)]
        self.table = pd.DataFrame(places, columns=["scan", "position"])
        self.table["id"] = [f"{scan}_{position}" for scan, position in places]
        self.table["height"], self.table["width"] = 30, 26
        self.images = [
            (low + rng.random((30, 26)) ** 2 * (high - low) * (row + 1) / 7).astype(dtype) for row in range(len(places))
        ]

    def image(self, row):
        return self.images[row]


def network_input(dataset, normalization, row, *, slices=3, interpolation="linear"):
    preprocess = Preprocess(normalization, SIZE, "fit", interpolation)
    return Input(SliceReader(dataset, slices=slices, stride=1, edge="clamp", preprocess=preprocess)).image(row)


def rows_of(over, row):
    """The rows that a row's stack takes its numbers from, by the row of each of its slices."""
    first, last = (0, 3) if row < 4 else (4, 6)
    stack = [max(first, row - 1), row, min(last, row + 1)]
    units = {
        "slice": lambda near: [near],
        "stack": lambda _: sorted(set(stack)),
        "scan": lambda _: range(first, last + 1),
    }
    return [(near, list(units[over](near))) for near in stack]


# --- the former [input] normalize, by its code at revision 43932c0 ---------------------------------------------------


def former(dataset, normalize, row, interpolation):
    """What ``[input] normalize`` gave: maxima and types divided after resizing, percentiles cut off before."""
    over, _, kind = normalize.partition("_")

    def resize(row, image):
        return resized(image, make_geometry("fit", image.shape[:2], SIZE, interpolation))

    planes = []
    for near, rows in rows_of(over if kind else "slice", row):
        image = dataset.images[near][:, :, None]
        if kind == "percentile":
            low, high = (
                float(v) for v in np.percentile(np.concatenate([dataset.images[r].ravel() for r in rows]), (1, 99))
            )
            scaled = image.astype(np.float32)
            scaled -= np.float32(low)
            scaled /= np.float32(high - low)
            planes.append(resize(near, scaled.clip(0, 1)))
        else:
            whole = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[str(image.dtype)]
            divisor = max(float(dataset.images[r].max()) for r in rows) if kind else whole
            plane = resize(near, image).astype(np.float32)
            plane /= np.float32(divisor)
            planes.append(plane)
    return np.concatenate(planes, axis=2)


FORMER = {
    f"{unit}_{word}": kind(over=unit) for unit in UNITS for word, kind in (("max", Maximum), ("percentile", Percentile))
}
FORMER["dtype"] = FileType()


@pytest.mark.parametrize("normalize", FORMER)
@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 250), (np.uint16, 60000), (np.float32, 0.9)])
def test_results_equal_the_former_ones_to_the_last_bit(normalize, dtype, high):
    dataset = Scans(dtype, high=high)
    for row, interpolation in itertools.product((0, 2, 5), ("nearest", "linear", "area")):
        expected = former(dataset, normalize, row, interpolation)
        result = network_input(dataset, FORMER[normalize], row, interpolation=interpolation)
        assert result.dtype == expected.dtype == np.float32
        assert result.tobytes() == expected.tobytes(), (row, interpolation)


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", UNITS)
def test_zscores_have_the_mean_0_and_the_deviation_1_of_their_unit(over):
    dataset = Scans(np.int16, low=-1024, high=3000)
    reader = SliceReader(dataset, slices=3, stride=1, edge="clamp", preprocess=Preprocess(ZScore(over=over)))
    result = reader.read(2).astype(np.float64)
    for channel, (near, rows) in enumerate(rows_of(over, 2)):
        values = np.stack([dataset.images[row] for row in rows]).astype(np.float64)
        expected = (dataset.images[near] - values.mean()) / values.std()
        np.testing.assert_allclose(result[:, :, channel], expected, atol=1e-5)
    if over == "slice":
        np.testing.assert_allclose(result.mean((0, 1)), 0, atol=1e-6)
        np.testing.assert_allclose(result.std((0, 1)), 1, atol=1e-6)


def test_percentiles_are_those_of_the_recipe():
    dataset = Scans(np.int16, low=-1024, high=3000)
    low, high = np.percentile(dataset.images[1], 5), np.percentile(dataset.images[1], 80)
    reader = SliceReader(dataset, slices=1, stride=1, edge="clamp", preprocess=Preprocess(Percentile(low=5, high=80)))
    expected = np.clip((dataset.images[1] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(reader.read(1)[:, :, 0], expected, atol=1e-6)
    with pytest.raises(ComponentError, match="low = 80 is not below high = 80"):
        Percentile(low=80, high=80)


def test_a_window_of_hounsfield_units():
    """Level 40, width 400: -160 and below is 0, 240 and above is 1, in every slice and also in the padding."""
    dataset = Scans(np.int16)
    dataset.images = [np.full((30, 26), -1024, np.int16) for _ in range(7)]
    dataset.images[1][0, :6] = [-1024, -160, -60, 40, 240, 3071]
    window = Window(level=40, width=400)
    reader = SliceReader(dataset, slices=3, stride=1, edge="clamp", preprocess=Preprocess(window))
    np.testing.assert_allclose(reader.read(1)[0, :6, 1], [0, 0, 0.25, 0.5, 1, 1], atol=1e-7)
    assert not reader.read(1)[:, :, [0, 2]].any() and window.range == (0, 1)
    dataset.images = [np.full((30, 26), 40, np.int16) for _ in range(7)]
    padded = network_input(dataset, window, 3, slices=1)
    assert set(np.unique(padded)) == {0.0, 0.5}, "water is not what a padded border shows"


@pytest.mark.parametrize("value", [0, 700, 0.1])
@pytest.mark.parametrize("kind", [Maximum, Percentile, ZScore])
@pytest.mark.parametrize("over", UNITS)
def test_units_without_contrast_are_defined(kind, over, value):
    """Zeros, but for the maximum, which makes all of them 1 unless it is 0."""
    dataset = Scans()
    dtype = np.float32 if isinstance(value, float) else np.uint16
    dataset.images = [np.full((30, 26), value, dtype) for _ in range(7)]
    reader = SliceReader(dataset, slices=3, stride=1, edge="clamp", preprocess=Preprocess(kind(over=over)))
    expected = 1.0 if kind is Maximum and value else 0.0
    assert (reader.read(1) == expected).all()


def test_a_deviation_of_rounding_alone_is_none():
    """The mean of equal floats is rounded; what is left of it would be blown up."""
    image = np.full((300, 300, 1), 0.1, np.float32)
    scale = ZScore().scale(Intensities(float(image.min()), float(image.max()), 1.0, (image,)))
    assert scale.divisor == np.inf


# --- values that are refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", UNITS)
def test_negative_values_are_refused_by_maximum(over):
    dataset = Scans(np.int16, low=-1024, high=3000)
    reader = SliceReader(dataset, slices=3, stride=1, edge="clamp", preprocess=Preprocess(Maximum(over=over)))
    with pytest.raises(DataError, match=r"image v0_1, .*Maximum: its values, -\d+ to \d+, would become -.*\"window\""):
        reader.read(1)


def test_negative_values_alone_and_floats_above_1_are_refused():
    negative = Scans(np.int16, low=-1024, high=-2000)
    for normalization in (Maximum(), FileType()):
        reader = SliceReader(negative, slices=1, stride=1, edge="clamp", preprocess=Preprocess(normalization))
        with pytest.raises(DataError, match="only 0 to 1 is valid"):
            reader.read(0)
    floats = Scans(np.float32, high=9.0)
    with pytest.raises(DataError, match=r'only 0 to 1 is valid.*"none"'):
        SliceReader(floats, slices=1, stride=1, edge="clamp", preprocess=Preprocess(FileType())).read(6)
    kept = SliceReader(floats, slices=1, stride=1, edge="clamp", preprocess=Preprocess(Unchanged())).read(6)
    assert np.array_equal(kept[:, :, 0], floats.images[6])


RECIPE = """
name = "ct"
[dataset]
name = "folder"
root = "{root}"
labels = {{a = 1}}
pattern = '(?P<scan>v\\d)_(?P<position>\\d)'
[input]
size = [32, 32]
resize = "fit"
slices = 3
[normalization]
name = "window"
level = 40
width = 400
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
[optimizer]
name = "adam"
[train]
epochs = 2
batch_size = 4
micro_batch = 4
activation_checkpointing = "off"
workers = 0
[[metric]]
name = "dice"
"""


@pytest.fixture(scope="module")
def ct(tmp_path_factory, session):
    """Two scans of three slices of Hounsfield units, float32 with -1024, and what loads their recipe."""
    root = tmp_path_factory.mktemp("ct")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir()
    for scan, position in itertools.product(range(2), range(3)):
        image = (rng.random((36, 40)) * 1500 - 1024).astype(np.float32)
        assert cv2.imwrite(str(root / "images" / f"v{scan}_{position}.tif"), image)
        assert cv2.imwrite(str(root / "masks" / f"v{scan}_{position}.png"), (image > -200).astype(np.uint8))
    (root / "ct.toml").write_text(RECIPE.format(root=root.as_posix()))

    def load(*overrides):
        return load_recipe(root / "ct.toml", registries=session.plugins.registries, overrides=overrides)

    load.root = root
    return load


ALL = {
    "window": (),
    "percentile": ("normalization.name=percentile", "normalization.over=stack", "normalization.low=2"),
    "zscore": ("normalization.name=zscore", "normalization.over=scan"),
    "none": ("normalization.name=none",),
}


def losses(run):
    return [entry["loss"] for entry in run.metrics()]


@pytest.mark.slow
def test_every_store_trains_alike(ct, session, tmp_path):
    made = {
        store: train(session.experiment(ct(f"input.store={store}")), tmp_path / store)
        for store in ("resized", "native", "device", "off")
    }
    first = losses(made["resized"])
    assert all(losses(run) == first for run in made.values()) and np.isfinite(first).all()


@pytest.mark.slow
def test_crops_are_normalized_as_the_whole_slice_is(ct, session, tmp_path):
    """Also a crop that is padded: its border is 0 after the window, which is black and not water."""
    for name in ("window", "zscore"):
        sets = (*ALL[name], "input.mode=crop", "input.resize=stretch", "input.size=[64, 64]", "input.slices=1")
        source = session.experiment(ct(*sets, "input.store=off")).source
        whole = source.image(1)
        crop = session.experiment(ct(*sets, "input.store=off")).samples[1, 1][0]
        assert crop.shape == (1, 64, 64)
        inside = crop[0, 14:50, 12:52]  # 36 x 40 in the middle of 64 x 64
        assert np.array_equal(inside, whole[:, :, 0])
        assert not np.delete(crop[0], range(14, 50), axis=0).any()
        stored = train(session.experiment(ct(*sets)), tmp_path / name / "stored")
        direct = train(session.experiment(ct(*sets, "input.store=off")), tmp_path / name / "direct")
        assert losses(stored) == losses(direct)


def test_changing_it_prepares_nothing_anew(ct, session):
    """Among those that divide, and among the others; and both kinds of shards stay."""
    for names in (("maximum", "dtype", "none"), ("percentile", "zscore")):
        layouts = {str(session.experiment(ct(f"normalization.name={name}")).store.layout) for name in names}
        assert len(layouts) == 1
    assert session.experiment(ct()).store.layout == Layout()


@pytest.mark.parametrize("store", ["resized", "device", "off"])
@pytest.mark.parametrize("name", ["maximum", "dtype"])
def test_negative_values_are_refused_before_training_with_file_and_remedy(ct, session, tmp_path, name, store):
    recipe = ct(f"normalization.name={name}", f"input.store={store}")
    with pytest.raises(DataError) as caught:
        train(session.experiment(recipe), tmp_path / "run")
    lines = str(caught.value).splitlines()
    pattern = (
        rf"image v\d_\d \({ct.root.as_posix()}/images/v\d_\d\.tif\), normalization '{name}' of gisegkit .*\"window\""
    )
    assert all(re.match(pattern, line) for line in lines)
    assert store == "off" or len(lines) == 6, "all of them at once"
    assert not list(tmp_path.rglob("last.pt"))


@pytest.fixture(scope="module")
def run(ct, session, tmp_path_factory):
    return train(session.experiment(ct()), tmp_path_factory.mktemp("run") / "ct")


def test_a_run_goes_on_only_with_its_own(ct, session, tmp_path, run):
    with pytest.raises(Exception, match=r"normalization\.width: 400(\.0)? in the run, 300(\.0)? now"):
        train(session.experiment(ct("normalization.width=300")), run.path, resume=True)


def test_an_evaluation_may_use_another_and_says_so(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(run.path), "--set", "normalization.level=-300", "--out", str(tmp_path / "other")])
    assert ended.value.code == 0
    assert "normalization.level" in (tmp_path / "other" / "scores.json").read_text()
    assert "level = -300" in (tmp_path / "other" / "recipe.toml").read_text()


def test_values_that_it_does_not_take_are_refused_in_prediction_too(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(run.path), "--set", "normalization.name=maximum", "--out", str(tmp_path / "a.csv")])
    assert ended.value.code == 2 and not (tmp_path / "a.csv").exists()
    told = capsys.readouterr().err
    assert "would become" in told and "Traceback" not in told
    negative = np.full((36, 40), -5, np.int16)
    with pytest.raises(DataError, match=r"image images\[0\], normalization 'maximum' .*its values, -5 to -5"):
        load_run(run.path, device="cpu", overrides=["normalization.name=maximum"]).predict(negative)


def test_arrays_in_memory_are_normalized_alike(run, ct):
    images = np.stack([cv2.imread(str(ct.root / f"images/v0_{p}.tif"), cv2.IMREAD_UNCHANGED) for p in range(3)])
    ours = load_run(run.path, device="cpu").predict(images)
    wider = load_run(run.path, device="cpu", overrides=["normalization.width=1e6", "evaluate.threshold=0.3"])
    assert ours.shape == (3, 36, 40, 1) and wider.predict(images).shape == ours.shape
    as_integers = load_run(run.path, device="cpu").predict(np.round(images).astype(np.int16))
    assert (as_integers != ours).mean() < 0.02, "int16 and float32 differ by the rounding alone"


# --- recipes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "old", ["slice_max", "stack_max", "scan_max", "slice_percentile", "scan_percentile", "dtype", "x"]
)
def test_the_former_key_names_the_table(ct, tmp_path, registries, old):
    text = (ct.root / "ct.toml").read_text().replace("slices = 3\n", f'slices = 3\nnormalize = "{old}"\n')
    (tmp_path / "old.toml").write_text(text)
    unit, _, kind = old.partition("_")
    name = {"max": "maximum", "percentile": "percentile"}.get(kind, "dtype")
    over = f' and over = "{unit}"' if kind else ""
    given = [f"input.normalize={old}"]
    for path, sets, place in ((tmp_path / "old.toml", [], "old.toml:"), (ct.root / "ct.toml", given, "--set")):
        with pytest.raises(RecipeError) as caught:
            load_recipe(path, registries=registries, overrides=sets)
        (mistake,) = caught.value.mistakes
        assert mistake.found == f'input.normalize = "{old}" is now the table [normalization]' and place in mistake.place
        assert f'name = "{name}"{over}' in mistake.remedy
        assert (f"--set normalization.name={name}" in mistake.remedy) == (old != "x")


def test_parameters_without_a_meaning_are_none(ct):
    for sets in (["normalization.over=scan"], ["normalization.name=dtype", "normalization.over=slice"]):
        with pytest.raises(RecipeError, match="unknown parameter 'over'"):
            ct(*sets)
    with pytest.raises(RecipeError, match="needs the parameter 'level'"):
        ct("normalization.name=maximum", "normalization.name=window")
    with pytest.raises(RecipeError, match=r"(?s)width = 0.*more than 0"):
        ct("normalization.width=0")


# --- of a plugin ----------------------------------------------------------------------------------------------------


class Peak:
    """The most frequent value of the pixels above the mean becomes 1, as in methods that look for a tissue's peak."""

    over = "scan"
    range = None

    def __init__(self, *, bins: int = 16):
        self.bins = bins

    def scale(self, unit):
        pixels = unit.pixels
        counts, edges = np.histogram(pixels[pixels > pixels.mean()], self.bins)
        return 0.0, float(edges[counts.argmax() + 1])


class Fitted:
    """Not pure: the first scan settles all others."""

    over = "slice"
    range = None
    divisor = 0.0

    def scale(self, unit):
        self.divisor += unit.maximum
        return 0.0, self.divisor


class Raising:
    over = "slice"
    range = (0, 1)

    def scale(self, unit):
        raise KeyError("tissue")


@pytest.fixture
def plugin(session):
    plugins = load_plugins(selection="none")
    add = Adder(Owner("giseg-peak", "0.3"))
    for name, target in (("peak", Peak), ("fitted", Fitted), ("raising", Raising)):
        add.normalization(name, target)
    for component in add.components:
        plugins.registries[component.kind].add(component)
    return Session(plugins, device="cpu")


@pytest.mark.slow
def test_one_of_a_plugin_trains_from_every_store(ct, plugin, tmp_path):
    made = []
    for store in ("resized", "device", "off"):
        sets = ["normalization.name=peak", "normalization.bins=8", f"input.store={store}"]
        recipe = load_recipe(ct.root / "ct.toml", registries=plugin.plugins.registries, overrides=sets)
        made.append(losses(train(plugin.experiment(recipe), tmp_path / store)))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(("name", "message"), [("fitted", "for the same values"), ("raising", "KeyError: 'tissue'")])
def test_one_that_breaks_its_contract_is_refused_before_training(ct, plugin, tmp_path, name, message):
    sets = [f"normalization.name={name}"]
    recipe = load_recipe(ct.root / "ct.toml", registries=plugin.plugins.registries, overrides=sets)
    with pytest.raises(ComponentError, match=rf"normalization '{name}' of giseg-peak 0\.3: .*{message}"):
        train(plugin.experiment(recipe), tmp_path / "run")
