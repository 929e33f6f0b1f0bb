"""``giseg predict --as-labels``: a data set of predictions, uncertain pixels ignored, that a recipe trains on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from gisegkit.cli import main
from gisegkit.components.datasets.folder import Folder
from gisegkit.errors import DataError, RunError
from gisegkit.types import IGNORE
from gisegkit.workflows.pseudo_labels import pseudo_labels, uncertain
from gisegkit.workflows.train import train


@pytest.fixture
def made(session, finished, tmp_path):
    """Labels of the unlabelled slices, which a network of two epochs is never very certain of."""
    run, _ = finished
    folder, experiment = session.open_run(run.path)
    return experiment, pseudo_labels(folder, experiment, tmp_path / "labels", certain=0.55)


def read_back(result):
    table = {}
    exec_free = result.table.splitlines()
    for line in exec_free[1:]:
        key, _, value = line.partition(" = ")
        table[key] = json.loads(value)
    assert exec_free[0] == "[[dataset]]"
    assert table.pop("name") == "folder" and table.pop("role") == "extra"
    return Folder(**table)


def test_images_are_the_same_and_masks_what_was_decided(session, made):
    experiment, result = made
    dataset = read_back(result)
    rows = experiment.unlabelled
    assert result.slices == len(dataset.table) == len(rows) == 10
    assert dataset.classes == experiment.classes
    own = experiment.dataset.table.iloc[rows]
    assert dataset.table["id"].tolist() == [f"pseudo-{name}" for name in own["id"]]
    assert dataset.table["position"].tolist() == own["position"].tolist()
    assert set(dataset.table["case"]) == {f"pseudo-{case}" for case in own["case"]}
    ignored = inside = 0
    for number, item in enumerate(experiment.slices(rows, label="", progress=lambda x, *_: x, probabilities=True)):
        np.testing.assert_array_equal(dataset.image(number), experiment.dataset.image(item.row))
        unsure = uncertain(item.prediction, item.probabilities, 0.55)
        expected = np.where(unsure[..., None], np.uint8(IGNORE), item.prediction.astype(np.uint8))
        np.testing.assert_array_equal(dataset.mask(number), expected)
        ignored += unsure.sum()
        inside += (expected == 1).sum()
    sizes = int((own["height"] * own["width"]).sum())
    assert result.ignored == pytest.approx(ignored / sizes)
    assert sum(result.shares.values()) == pytest.approx(inside / (sizes - ignored))


@pytest.mark.slow
def test_slices_of_a_case_that_has_labels_too_are_told(several, folds_run, tmp_path):
    """The case could validate while its own neighbors train."""
    shutil.copytree(several.folder / "t", tmp_path / "t")
    for name in ("t0_2", "t3_2"):
        shutil.copyfile(tmp_path / "t" / "more" / "t6_0.png", tmp_path / "t" / "more" / f"{name}.png")
    for root, told in ((tmp_path / "t", True), (several.folder / "t", False)):
        run, experiment = several.open(folds_run.run.path, f"dataset.root={root}", command="predict")
        pseudo_labels(run, experiment, tmp_path / f"labels{told}", certain=0.6)
        found = [line for line in several.lines if "labelled slices too" in line]
        assert bool(found) is told
        assert not told or found[0].startswith("warning: 2 slices are of cases that have labelled slices too (t0, t3)")


def test_what_is_uncertain():
    probabilities = np.array([0.95, 0.9, 0.5, 0.1, 0.05, 0.95, 0.05], np.float32)[None, :, None]
    masks = np.array([1, 1, 1, 0, 0, 0, 1], bool)[None, :, None]  # the last two: the decision has changed them
    np.testing.assert_array_equal(uncertain(masks, probabilities, 0.9)[0], [0, 0, 1, 0, 0, 1, 1])
    both = np.concatenate([probabilities, np.full_like(probabilities, 0.5)], -1)
    assert uncertain(np.concatenate([masks, ~masks], -1), both, 0.9).all()  # one class is enough


@pytest.mark.slow
def test_a_recipe_trains_on_them_as_well(session, recipe, made, tmp_path):
    _, result = made
    text = recipe("train.epochs=1", "batch_transform=[]").text()
    file = tmp_path / "more.toml"
    file.write_text(text.replace("[dataset]", "[[dataset]]", 1) + "\n" + result.table)
    from gisegkit.recipe.load import load_recipe

    experiment = session.experiment(load_recipe(file, registries=session.plugins.registries))
    rows = set(experiment.split.train.tolist())
    extra = experiment.dataset.table["id"].str.startswith("pseudo-").to_numpy()
    assert extra.sum() == 10 and set(np.flatnonzero(extra)) <= rows
    run = train(experiment, tmp_path / "more")
    assert run.metrics()[-1]["epoch"] == 1


@pytest.mark.slow
def test_exclusive_classes_become_label_files(session, recipe, tmp_path):
    sets = ("dataset.exclusive=true", 'loss=[{name="ce"}]', "batch_transform=[]", "train.epochs=1")
    run = train(session.experiment(recipe(*sets)), tmp_path / "run")
    folder, experiment = session.open_run(run.path)
    result = pseudo_labels(folder, experiment, tmp_path / "labels", certain=0.5)
    dataset = Folder(
        root=str(tmp_path / "labels"),
        table="labels.csv",
        labels={name: k for k, name in enumerate(experiment.classes, 1)},
        ignore=[128],
    )
    assert "labels = { " in result.table
    items = list(experiment.slices(experiment.unlabelled, label="", progress=lambda x, *_: x, probabilities=True))
    for number, item in enumerate(items):
        unsure = uncertain(item.prediction, item.probabilities, 0.5)
        expected = np.where(unsure[..., None], np.uint8(IGNORE), item.prediction.astype(np.uint8))
        np.testing.assert_array_equal(dataset.mask(number), expected)


@pytest.mark.slow
def test_data_without_spacing_are_not_said_to_differ_in_it(several, folds_run, tmp_path):
    folder, experiment = several.open(folds_run.run.path, command="predict")
    result = pseudo_labels(folder, experiment, tmp_path / "labels", certain=0.5)
    assert result.slices == 2 and "spacing =" not in result.table
    assert not any("spacing" in line for line in several.lines)


def test_folders_in_the_way_and_numbers_out_of_range_are_refused(session, finished, tmp_path):
    run, _ = finished
    folder, experiment = session.open_run(run.path)
    with pytest.raises(DataError, match=r"--certain 0\.4: give a probability from 0.5 to 1"):
        pseudo_labels(folder, experiment, tmp_path / "x", certain=0.4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(RunError, match="exists already"):
        pseudo_labels(folder, experiment, tmp_path / "mine")
    experiment.dataset.table["labelled"] = True
    experiment.__dict__.pop("unlabelled", None)
    with pytest.raises(DataError, match="no unlabelled slices"):
        pseudo_labels(folder, experiment, tmp_path / "y")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--certain", "0.8"), "--certain is for --as-labels"),
        (("--as-labels", "x", "--part", "all"), "leave --out and --part out"),
    ],
)
def test_options_that_do_not_go_together_are_told(finished, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(finished[0].path), *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_says_what_to_write_into_the_recipe(finished, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "predict",
                str(finished[0].path),
                "--as-labels",
                str(tmp_path / "l"),
                "--certain",
                "0.55",
                "--device",
                "cpu",
            ]
        )
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "10 slices in" in out and "of the pixels are ignored" in out
    assert (tmp_path / "l" / "dataset.toml").read_text() in out
