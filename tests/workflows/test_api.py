"""The public Python interface: recipes, epochs, runs, and masks of arrays that equal what ``giseg predict`` writes."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

import gisegkit
from gisegkit import epochs, evaluate, load_recipe, load_run, predict, train
from gisegkit.build import experiment as experiment_module
from gisegkit.data import rle
from gisegkit.errors import DataError, RecipeError, RunError
from gisegkit.workflows import api
from gisegkit.workflows.in_memory import InMemory

pytestmark = pytest.mark.slow  # whole trainings or processes

SMALL = ("train.epochs=2", "train.batch_size=16", "input.size=[32, 32]", "metric=[{name='dice'}]")

COLOR = """
name = "color"
input = {{size = [32, 32], slices = 3, store = "device"}}
split.folds = 2
dataset = {{name = "folder", root = "{root}", labels = {{a = 1}}, pattern = "(?P<case>c.)_(?P<position>.)"}}
model = {{name = "r2unet", width = 4, depth = 2, steps = 1}}
loss = [{{name = "ce"}}]
augmentation.name = "none"
optimizer = {{name = "adam", lr = 0.03}}
metric = [{{name = "dice"}}]
train = {{epochs = 12, batch_size = 4, micro_batch = 0, validate_every = 12, activation_checkpointing = "off"}}
evaluate.batch_size = 4
"""


@pytest.fixture(scope="module", autouse=True)
def built_ins(session):
    """Whatever else is installed beside gisegkit plays no part here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "installed", lambda: session.plugins)
        yield


@pytest.fixture(scope="module")
def flat(home, tmp_path_factory):
    """A run on single slices, trained by the public function."""
    recipe = load_recipe(home / "tiny.toml", overrides=(*SMALL, "input.slices=1", "train.epochs=1"))
    return train(recipe, out=tmp_path_factory.mktemp("flat") / "run", device="cpu")


@pytest.fixture(scope="module")
def scans(finished, session):
    """Rows of every scan of the phantom, and its images by row."""
    _, experiment = session.open_run(finished[0].path)
    table = experiment.dataset.table
    return {
        name: [experiment.dataset.image(row) for row in group.index] for name, group in table.groupby("scan")
    }, table


def written(file, table, scan, classes):
    """The masks of a scan in a submission, ``[D, H, W, K]``."""
    rows = table[table["scan"] == scan]
    texts = pd.read_csv(file, keep_default_na=False).set_index(["id", "class"])["predicted"]
    shape = (int(rows["height"].iloc[0]), int(rows["width"].iloc[0]))
    return np.stack(
        [
            np.stack([rle.decode(texts[item, name], height=shape[0], width=shape[1]) for name in classes], axis=-1)
            for item in rows["id"]
        ]
    ).astype(bool)


# --- masks of arrays ---


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("finished", ()),
        ("finished", ("input.size=[48, 64]", "input.resize=fit", "input.interpolation=area")),
        ("finished", ("normalization.name=percentile", "normalization.over=scan", "input.edge=zero", "input.stride=2")),
        ("finished", ("evaluate.threshold=0.48", "postprocess=[]", "normalization.over=stack")),
        ("flat", ()),
        ("flat", ("input.size=[64, 32]", "normalization.name=zscore", "evaluate.threshold=0.45")),
    ],
    ids=["as it is", "size", "neighbors", "threshold", "slices=1", "slices=1, size"],
)
def test_masks_are_those_that_predict_writes(name, overrides, finished, flat, scans, tmp_path):
    alike = ("evaluate.batch_size=10",)  # batches of one scan here and there, so that masks are equal to the last bit
    folder = {"finished": finished[0].path, "flat": flat.path}[name]
    run = load_run(folder, device="cpu", overrides=(*overrides, *alike))
    images, table = scans
    file = predict(run, out=tmp_path / "all.csv", part="all")
    found = 0
    for scan, slices in images.items():
        expected = written(file, table, scan, run.classes)
        masks = run.predict(slices)
        assert masks.dtype == bool
        assert masks.shape == (10, *slices[0].shape[:2], 3)
        np.testing.assert_array_equal(masks, expected)
        found += masks.sum()
    assert 0 < found < table["height"].mul(table["width"]).sum() * 3
    assert len({slices[0].shape for slices in images.values()}) > 1


def test_every_form_of_a_scan_gives_the_same_masks(finished, scans):
    run = load_run(finished[0].path, device="cpu")
    slices = next(iter(scans[0].values()))
    expected = run.predict(slices)
    array = np.stack(slices)
    for images in (tuple(slices), array, array[..., None], np.asfortranarray(array), torch.tensor(array.astype("f4"))):
        np.testing.assert_array_equal(run.predict(images), expected)
    alone = run.predict(slices[4])
    assert alone.shape == (*slices[4].shape[:2], 3)
    np.testing.assert_array_equal(alone, run.predict([slices[4]])[0])
    np.testing.assert_array_equal(alone, run.predict(slices[4][:, :, None]))


def test_single_slices_of_a_flat_run_are_those_of_their_scan(flat, scans):
    slices = next(iter(scans[0].values()))
    differ = np.stack([flat.predict(image) for image in slices]) != flat.predict(slices)
    assert differ.mean() < 1e-4  # a batch of one is rounded otherwise


def test_the_network_is_built_once_and_without_the_data(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[0].path, tmp_path / "moved")
    built, original = [], experiment_module.started_network

    def started(experiment, *, settled):
        built.append(settled)
        return original(experiment, settled=settled)

    def build(experiment, spec, **given):
        assert spec.kind != "dataset"
        return made(experiment, spec, **given)

    made = experiment_module.Experiment.build
    monkeypatch.setattr(experiment_module, "started_network", started)
    monkeypatch.setattr(experiment_module.Experiment, "build", build)
    run = load_run(str(tmp_path / "moved"), device="cpu")
    assert run.classes == ("large_bowel", "small_bowel", "stomach")
    for size in ((20, 24), (33, 40)):
        assert run.predict(np.ones((2, *size), np.uint8)).shape == (2, *size, 3)
    assert built == [True]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.ones((20, 24, 3), np.uint8), r"\[20, 24, 3\] are ambiguous"),
        (np.full((20, 24), np.nan), "480 of 480 values are not finite"),
        ([], "images is empty"),
        (np.ones(5, np.uint8), r"the shape \[5\]"),
    ],
)
def test_wrong_images_are_refused(finished, images, words):
    with pytest.raises(DataError, match=words):
        load_run(finished[0].path, device="cpu").predict(images)


@pytest.mark.slow
def test_colors_and_exclusive_classes_without_the_data(tmp_path):
    """RGB files, softmax and slices kept on the device; the network has nine channels, three for each of its slices."""
    rng, images = np.random.default_rng(0), {}
    for name in (f"c{case}_{position}" for case in range(2) for position in range(4)):
        mask = (rng.random((40, 36)) < 0.4).astype(np.uint8)
        noise = rng.integers(0, 255, mask.shape, np.uint8)
        images[name] = np.stack([noise, 255 - mask * 80, mask * 100 + 20], axis=-1)
        for part, pixels in (("images", images[name][:, :, ::-1]), ("masks", mask)):
            (tmp_path / "data" / part).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / "data" / part / f"{name}.png"), pixels)
    (tmp_path / "color.toml").write_text(COLOR.format(root=(tmp_path / "data").as_posix()))
    run = train(load_recipe(tmp_path / "color.toml"), out=tmp_path / "run", device="cpu")
    texts = pd.read_csv(predict(run, part="all"), keep_default_na=False).set_index("id")["predicted"]
    shutil.rmtree(tmp_path / "data")
    run = load_run(run.path, device="cpu")
    for case in ("c0", "c1"):
        ids = [name for name in images if name.startswith(case)]
        expected = np.stack([rle.decode(texts[name], height=40, width=36) for name in ids])[..., None]
        masks = run.predict(np.stack([images[name] for name in ids]))
        np.testing.assert_array_equal(masks, expected)
        assert 0 < masks.mean() < 1
    assert run.predict(images["c0_0"]).shape == (40, 36, 1)
    with pytest.raises(DataError, match=r"slices of 3 channels; give \[H, W, 3\] for one slice"):
        run.predict(images["c0_0"][:, :, 0])


def test_a_checkpoint_that_does_not_fit_the_recipe_is_refused(finished, session):
    weights = finished[0].weights()
    wrong = {**weights, "facts": {**weights["facts"], "channels": 8}}
    with pytest.raises(RunError, match=r"network for 8 channels, which the run's input.slices = 3"):
        InMemory(load_recipe(finished[0].recipe), wrong, slices=3, session=session)


def test_settings_that_do_not_fit_the_network_are_refused(finished):
    with pytest.raises(RunError, match="trained with channels = 3"):
        load_run(finished[0].path, device="cpu", overrides=("input.slices=5",))
    with pytest.raises(RecipeError, match=r"train\.epochs has no effect"):
        load_run(finished[0].path, device="cpu", overrides=("train.epochs=5",))
    with pytest.raises(RunError, match="not a run folder"):
        load_run("nowhere")


# --- recipes and training ---


def test_a_recipe_is_loaded_with_overrides(home):
    assert load_recipe(home / "tiny.toml", overrides=("train.epochs=7", "seed=3")).train.epochs == 7
    assert load_recipe(str(home / "tiny.toml"), overrides="train.epochs=5").train.epochs == 5
    with pytest.raises(RecipeError, match="epoks"):
        load_recipe(home / "tiny.toml", overrides=("train.epoks=7",))


@pytest.mark.slow
def test_epochs_can_be_stopped_and_resumed(home, tmp_path):
    recipe, lines = load_recipe(home / "tiny.toml", overrides=SMALL), []
    for report in epochs(recipe, out=tmp_path / "run", device="cpu", say=lines.append):
        assert report.epoch == 1
        assert set(report.scores) >= {"dice", "dice/stomach"}
        break
    assert any(line.startswith("epoch 1/2") for line in lines)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    assert not (tmp_path / "run" / "submission.csv").exists()
    with pytest.raises(RunError, match="exists already"):
        train(recipe, out=tmp_path / "run", device="cpu")
    run = train(recipe, out=str(tmp_path / "run"), device="cpu", resume=True, say=lines.append)
    assert "resuming after epoch 1 of 2" in lines
    assert run.path == tmp_path / "run"
    assert [json.loads(line)["epoch"] for line in (run.path / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    assert run.recipe.train.epochs == 2


def test_an_error_in_a_plugin_says_whose_it_is(home, monkeypatch):
    def broken(experiment, out, *, resume):
        yield "report"
        raise ZeroDivisionError

    named = []
    monkeypatch.setattr(api, "train_by_epochs", broken)
    monkeypatch.setattr(api, "name_culprit", lambda error, registries: named.append(error))
    reports = epochs(load_recipe(home / "tiny.toml"), out="nowhere", device="cpu")
    assert next(reports) == "report"
    with pytest.raises(ZeroDivisionError):
        next(reports)
    assert len(named) == 1


# --- runs ---


def test_evaluate_gives_the_scores_of_the_command(finished, tmp_path):
    run, scores = finished
    assert evaluate(run.path, out=tmp_path / "first", device="cpu") == scores["scores"]
    assert (tmp_path / "first" / "scores.json").is_file()
    strict = load_run(run.path, device="cpu", overrides=("evaluate.threshold=0.9",))
    evaluate(strict, overrides=("evaluate.batch_size=5",), out=str(tmp_path / "strict"))
    kept = json.loads((tmp_path / "strict" / "scores.json").read_text())
    assert kept["threshold"] == 0.9
    assert kept["scores"] != scores["scores"]
    assert kept["device"].startswith("cpu")


def test_predict_writes_where_it_is_told(finished, tmp_path):
    run, _ = finished
    file = predict(str(run.path), out=str(tmp_path / "mine.csv"), part="unlabelled", device="cpu")
    assert file == tmp_path / "mine.csv"
    assert file.read_bytes() == run.submission.read_bytes()


def test_a_run_says_what_it_is(finished):
    run = load_run(finished[0].path, device="cpu")
    assert repr(run) == f"Run({str(finished[0].path)!r})"
    assert run.path == finished[0].path
    assert run.recipe.as_dict() == load_recipe(finished[0].recipe).as_dict()
    assert set(gisegkit.__all__) <= set(dir(gisegkit))
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        _ = gisegkit.fit
