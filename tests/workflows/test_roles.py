"""Extra datasets train and never validate; test datasets are only scored, in an evaluation of their own."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.build.session import Session
from gisegkit.cli import main
from gisegkit.errors import DataError, RunError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.runs.folder import RunDir
from gisegkit.workflows.compare import compare
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.predict import predict
from gisegkit.workflows.run import run_recipe
from gisegkit.workflows.train import train

pytestmark = pytest.mark.slow  # whole trainings or processes

RECIPE = """
name = "roles"
input = {{size = [32, 32], slices = 3, store = "{store}"}}
split.folds = 2
model = {{name = "r2unet", width = 2, depth = 2, steps = 1}}
loss = [{{name = "bce"}}]
optimizer = {{name = "sgd", lr = 0.01}}
train = {{epochs = 2, batch_size = 4, micro_batch = 0, workers = 0, activation_checkpointing = "off"}}
"""
DATASET = """
[[dataset]]
name = "folder"
root = "{root}"
labels = {{a = 1}}
pattern = "(?P<case>[a-z]\\\\d)_(?P<position>\\\\d)"
unlabelled = "{unlabelled}"
role = "{role}"
"""
ROLES = {"t": "train", "e": "extra", "x": "test"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """For each role two cases of two slices; the training set and the extra one also have two unlabelled slices."""
    folder = tmp_path_factory.mktemp("sets")
    for letter in ROLES:
        rng = np.random.default_rng(ord(letter))
        for case in range(2 if letter == "x" else 3):
            for position in range(2):
                mask = (rng.random((24, 20)) < 0.3).astype(np.uint8)
                masked = case < 2
                for part, pixels in (("images" if masked else "more", mask * 150 + 20), ("masks", mask)):
                    if part != "masks" or masked:
                        (folder / letter / part).mkdir(parents=True, exist_ok=True)
                        assert cv2.imwrite(str(folder / letter / part / f"{letter}{case}_{position}.png"), pixels)
    return folder


@pytest.fixture(scope="module")
def load(data, tmp_path_factory):
    plugins = load_plugins(selection="none")
    folder = tmp_path_factory.mktemp("recipes")

    def load(letters="tex", *overrides, store="off"):
        text = RECIPE.format(store=store)
        for letter in letters:
            more = "" if letter == "x" else "more"
            text += DATASET.format(root=(data / letter).as_posix(), unlabelled=more, role=ROLES[letter])
        (folder / "roles.toml").write_text(text)
        recipe = load_recipe(folder / "roles.toml", registries=plugins.registries, overrides=overrides)
        return Session(plugins, "cpu").experiment(recipe)

    return load


@pytest.fixture(scope="module")
def finished(load, tmp_path_factory):
    return run_recipe(load(), tmp_path_factory.mktemp("runs") / "run")


def ids(experiment, rows):
    return experiment.dataset.table["id"].iloc[rows].tolist()


def test_extra_slices_train_and_test_slices_do_neither(load):
    """The folds are those of the training set alone."""
    alone, both = load("t"), load("xte")
    assert ids(both, both.split.validation) == ids(alone, alone.split.validation)
    extra = [f"e{case}_{position}" for case in (0, 1) for position in (0, 1)]
    assert ids(both, both.split.train) == sorted([*ids(alone, alone.split.train), *extra])
    assert ids(both, both.rows_of_role("test")) == [name.replace("e", "x") for name in extra]
    assert ids(both, both.unlabelled) == ids(alone, alone.unlabelled) == ["t2_0", "t2_1"]
    for part in ("unlabelled", "validation", "all"):
        assert ids(both, both.rows_to_predict(part)[1]) == ids(alone, alone.rows_to_predict(part)[1])


def test_the_split_file_says_the_part(finished):
    table = finished.run.split()
    parts = table.groupby("part")["id"].apply(sorted).to_dict()
    assert parts["extra"] == ["e0_0", "e0_1", "e1_0", "e1_1"]
    assert parts["test"] == ["x0_0", "x0_1", "x1_0", "x1_1"]
    assert len(parts["train"]) == len(parts["validation"]) == 2
    assert parts["unlabelled"] == ["e2_0", "e2_1", "t2_0", "t2_1"]


def test_the_test_slices_have_their_own_scores(finished, data):
    folder = finished.run.evaluation / "test"
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["part"], scores["slices"], scores["scans"], scores["trained_on"]) == ("test", 4, 2, 0)
    assert scores["scores"]["dice"] == pytest.approx(finished.evaluated.test["scores"]["dice"])
    table = pd.read_csv(folder / "by_slice.csv")
    assert sorted(table["id"]) == ["x0_0", "x0_1", "x1_0", "x1_1"]
    truth = {name: int(cv2.imread(str(data / f"x/masks/{name}.png"), -1).sum()) for name in table["id"]}
    assert dict(zip(table["id"], table["true_pixels"], strict=True)) == truth
    own = json.loads((finished.run.evaluation / "scores.json").read_text())
    assert (own["part"], own["slices"]) == ("validation", 2)
    assert {path.name for path in folder.iterdir()} >= {"preview.png", "report.html", "recipe.toml"}
    assert "test: dice " in finished.run.report.read_text()


def test_a_test_set_changes_neither_training_nor_validation(load, finished, tmp_path):
    plain = run_recipe(load("te"), tmp_path / "plain")
    assert plain.evaluated.test is None and not (plain.run.evaluation / "test").exists()
    assert plain.evaluated.scores["scores"] == finished.evaluated.scores["scores"]
    strip = [{key: entry[key] for key in ("loss", "scores")} for entry in plain.run.metrics()]
    assert strip == [{key: entry[key] for key in ("loss", "scores")} for entry in finished.run.metrics()]
    assert plain.predicted.file.read_bytes() == finished.predicted.file.read_bytes()


def test_the_store_changes_nothing(load, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    stored = run_recipe(load(store="resized"), tmp_path / "stored")
    assert stored.evaluated.test["scores"] == finished.evaluated.test["scores"]
    assert [entry["loss"] for entry in stored.run.metrics()] == [entry["loss"] for entry in finished.run.metrics()]


def test_a_run_with_roles_is_resumed(load, finished, tmp_path):
    train(load("tex", "train.epochs=1"), tmp_path / "short")
    shutil.copy(finished.run.recipe, tmp_path / "short" / "recipe.toml")
    run = train(load(), tmp_path / "short", resume=True)
    assert [entry["loss"] for entry in run.metrics()] == [entry["loss"] for entry in finished.run.metrics()]


def test_evaluate_and_predict_again(load, finished, tmp_path):
    run = finished.run
    again = evaluate(run, load(), out=tmp_path / "out")
    assert again.test["scores"] == finished.evaluated.test["scores"]
    assert (tmp_path / "out/test/scores.json").is_file()
    predicted = predict(run, load(), out=tmp_path / "s.csv", part="all")
    assert predicted.slices == 6  # of the training set alone


def test_test_scores_are_compared_if_asked(load, finished, tmp_path):
    other = run_recipe(load("tx"), tmp_path / "other")
    folders = {one.run.evaluation / "test": one.evaluated.test["scores"]["dice"] for one in (finished, other)}
    table = compare(list(folders), load().registries)
    assert {row.run.path: pytest.approx(row.interval.estimate) for row in table.rows} == folders


def test_a_test_set_with_fewer_slices_does_not_replace_the_scores(finished, load, data, tmp_path):
    shutil.copytree(finished.run.path, tmp_path / "run")
    shutil.copytree(data / "x", tmp_path / "x")
    for part in ("images", "masks"):
        (tmp_path / "x" / part / "x1_1.png").unlink()
    lines = []
    experiment = load("tex", f"dataset.2.root={tmp_path / 'x'}")
    talking = Session(load_plugins(selection="none"), "cpu", say=lines.append)
    result = evaluate(RunDir(tmp_path / "run"), talking.experiment(experiment.recipe))
    assert not result.own and result.test["slices"] == 3 and result.test["expected"] == 4
    assert any("only 3 of the run's 4 test slices are in these data" in line for line in lines)
    before = json.loads((finished.run.evaluation / "test/scores.json").read_text())
    assert json.loads((tmp_path / "run/evaluation/test/scores.json").read_text()) == before


def test_a_test_truth_that_changed_is_told_and_does_not_replace_the_scores(finished, load, data, tmp_path):
    """In evaluate, which keeps the run's own scores, and in compare, which refuses."""
    shutil.copytree(finished.run.path, tmp_path / "run")
    shutil.copytree(data / "x", tmp_path / "x")
    mask = cv2.imread(str(tmp_path / "x/masks/x1_0.png"), -1)
    mask[:4] = 1
    assert cv2.imwrite(str(tmp_path / "x/masks/x1_0.png"), mask)
    lines = []
    talking = Session(load_plugins(selection="none"), "cpu", say=lines.append)
    recipe = load("tex", f"dataset.2.root={tmp_path / 'x'}").recipe
    (tmp_path / "run/recipe.toml").write_text(recipe.text())  # as if the run had been made with these
    result = evaluate(RunDir(tmp_path / "run"), talking.experiment(recipe))
    assert not result.own and result.test["scores"] != finished.evaluated.test["scores"]
    assert result.scores["scores"] == finished.evaluated.scores["scores"], "the validation slices are the same"
    assert any("the truth of 1 slice has changed: x1_0" in line for line in lines)
    before = json.loads((finished.run.evaluation / "test/scores.json").read_text())
    assert json.loads((tmp_path / "run/evaluation/test/scores.json").read_text()) == before
    with pytest.raises(RunError, match=r"they were scored on different data. In .*, slice x1_0 is of case x1"):
        compare([finished.run.evaluation / "test", result.files.folder / "test"], load().registries)


def test_a_test_set_that_is_named_after_training(load, tmp_path):
    trained = run_recipe(load("te"), tmp_path / "run")
    result = evaluate(trained.run, load("tex"))
    assert not result.own and result.test["slices"] == 4
    assert (result.files.folder / "test/scores.json").is_file()


def test_data_that_moved_are_the_same_data(finished, load, data, tmp_path):
    shutil.copytree(finished.run.path, tmp_path / "run")
    (tmp_path / "link").symlink_to(data / "x")
    assert evaluate(RunDir(tmp_path / "run"), load("tex", f"dataset.2.root={tmp_path / 'link'}")).own
    run = train(load("tex", f"dataset.1.root={data / '.' / 'e'}/"), tmp_path / "run", resume=True)
    assert len(run.metrics()) == 2


def test_the_command_line_prints_both(finished, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["evaluate", str(finished.run.path), "--device", "cpu"])
    out = capsys.readouterr().out
    assert "scores of 2 slices in 1 scan (validation, epoch" in out
    assert "scores of 4 slices in 2 scans (test, epoch" in out


def test_a_case_that_trains_and_tests_is_refused(load, data, tmp_path):
    shutil.copytree(data / "t", tmp_path / "again")
    with pytest.raises(DataError, match=r"share 6 slices: t0_0, .* and 1 more; if they are the same"):
        _ = load("tx", f"dataset.1.root={tmp_path / 'again'}", "dataset.1.unlabelled=more").dataset
