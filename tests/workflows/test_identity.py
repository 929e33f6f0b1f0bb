"""What a run knows of its data: images by their digests, slices that are left out, doubts that are told."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.build.session import Session
from gisegkit.data.findings import FindingsError
from gisegkit.errors import RunError
from gisegkit.recipe.load import load_recipe
from gisegkit.runs.folder import RunDir
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.folds import run_folds
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import train

pytestmark = pytest.mark.slow  # whole trainings

RECIPE = """
name = "known"
[dataset]
name = "folder"
root = "{root}"
labels = {{square = 1}}
pattern = '(?P<case>p\\d+)_(?P<position>\\d+)'
[input]
size = [32, 32]
[split]
folds = 2
[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
decoder_channels = [16, 8, 8, 8, 8]
[[loss]]
name = "bce"
[optimizer]
name = "adam"
[train]
epochs = 1
batch_size = 4
activation_checkpointing = "off"
"""


def write_data(root, *, seed=0):
    """Four cases of three slices."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for case in range(4):
        for k in range(3):
            rng = np.random.default_rng([seed, case, k])
            mask = np.zeros((32, 32), np.uint8)
            y, x = rng.integers(2, 14, 2)
            mask[y : y + 10, x : x + 12] = 1
            image = cv2.GaussianBlur(rng.integers(0, 80, mask.shape).astype(np.uint8), (5, 5), 0) + 90 * mask
            cv2.imwrite(str(root / "images" / f"p{case}_{k}.png"), image)
            cv2.imwrite(str(root / "masks" / f"p{case}_{k}.png"), mask)


def cut(root, name):
    file = root / "images" / f"{name}.png"
    file.write_bytes(file.read_bytes()[:-40])


class Project:
    """A folder with data and a recipe."""

    def __init__(self, folder, session):
        self.folder, self.data, self.session, self.lines = folder, folder / "data", session, []

    def experiment(self, *sets):
        self.lines.clear()
        (self.folder / "r.toml").write_text(RECIPE.format(root=self.data.as_posix()))
        chosen = load_recipe(self.folder / "r.toml", registries=self.session.plugins.registries, overrides=sets)
        return Session(self.session.plugins, "cpu", say=self.lines.append).experiment(chosen)

    def open(self, out, *sets, root=None):
        self.lines.clear()
        speaking = Session(self.session.plugins, "cpu", say=self.lines.append)
        return speaking.open_run(self.folder / out, root=None if root is None else str(root), overrides=sets)

    def said(self, text):
        return [line for line in self.lines if text in line]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, session):
    project = Project(tmp_path_factory.mktemp("known"), session)
    write_data(project.data)
    train(project.experiment(), project.folder / "run")
    return project


@pytest.fixture
def project(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "known")
    made = Project(tmp_path / "known", trained.session)
    made.experiment()
    return made


def test_the_split_holds_a_digest_of_every_image_and_the_pixels_of_every_mask(trained):
    split = RunDir(trained.folder / "run").split()
    assert split.columns.tolist() == ["id", "part", "digest", "pixels"] and split["digest"].nunique() == 12
    for name, pixels in zip(split["id"], split["pixels"], strict=True):
        mask = cv2.imread(str(trained.data / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert pixels == str((mask == 1).sum())
    assert split["digest"].str.fullmatch("[0-9a-f]{24}").all()


def test_other_images_under_the_same_names_are_other_data(project):
    write_data(project.folder / "other", seed=1)
    evaluated = evaluate(*project.open("run", root=project.folder / "other"))
    (line,) = project.said("these are other data under the same names")
    assert "6 slices have another image than in the run" in line and "taking all 12 labelled slices" in line
    assert evaluated.scores["part"] == "all labelled" and evaluated.scores["slices"] == 12 and not evaluated.own
    assert evaluated.scores["trained_on"] == 0
    with pytest.raises(RunError, match="12 slices have the same name and another image than when it began: p0_0"):
        train(project.experiment(f"dataset.root={project.folder / 'other'}"), project.folder / "run", resume=True)


def test_one_image_that_changed_is_told_and_the_runs_own_evaluation_stays(project):
    split = RunDir(project.folder / "run").split()
    name = split["id"][split["part"] == "validation"].iat[0]
    file = project.data / "images" / f"{name}.png"
    cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED) + 1)
    evaluated = evaluate(*project.open("run", root=project.data))
    assert project.said(f"1 slice has another image than when the run began: {name}")
    assert evaluated.scores["slices"] == 6 and not evaluated.own


def test_a_mask_that_changed_stops_a_resumed_run(project):
    split = RunDir(project.folder / "run").split()
    name = split["id"][split["part"] == "train"].iat[0]
    file = project.data / "masks" / f"{name}.png"
    cv2.imwrite(str(file), np.zeros_like(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)))
    with pytest.raises(RunError, match=f"1 slice has another mask than when it began .*: {name}"):
        train(project.experiment(), project.folder / "run", resume=True)


def test_training_images_under_other_names_count_as_trained_on(project):
    write_data(project.folder / "other")
    for folder in ("images", "masks"):
        for file in sorted((project.folder / "other" / folder).iterdir()):
            file.rename(file.with_name(f"p9{file.name[1:]}"))
    evaluated = evaluate(*project.open("run", root=project.folder / "other"))
    assert evaluated.scores["slices"] == 12 and evaluated.scores["trained_on"] == 6
    assert project.said("6 of these 12 slices were trained on")


@pytest.mark.parametrize("store", ["resized", "off"])
def test_bad_slices_stop_all_together_or_are_left_out_and_counted(project, store):
    for name in ("p0_1", "p3_0"):
        cut(project.data, name)
    sets = (f"input.store={store}", "input.slices=3")
    with pytest.raises(FindingsError, match="cut off") as caught:
        train(project.experiment(*sets), project.folder / "stopped")
    assert {name for finding in caught.value.findings for name in finding.ids} == {"p0_1", "p3_0"}
    skip = (*sets, "dataset.on_bad=skip")
    run = train(project.experiment(*skip), project.folder / "skipped")
    assert project.said('left out: 2 slices (on_bad = "skip"')
    split = run.split().set_index("id")["part"]
    assert split[["p0_1", "p3_0"]].tolist() == ["left out"] * 2 and len(split) == 12
    assert split.isin(["train", "validation"]).sum() == 10
    again = train(project.experiment(*skip), project.folder / "skipped", resume=True)  # all epochs are done
    assert again.split().equals(run.split())
    evaluate(*project.open("skipped"))
    predicted = predict(*project.open("skipped"), part="all")
    assert project.said("left out: 2 slices") and predicted.slices == 10
    assert set(pd.read_csv(predicted.file)["id"]) == set(split.index) - {"p0_1", "p3_0"}


def test_an_exclusion_list_leaves_out_and_says_what_it_does_not_find(project):
    (project.folder / "list.csv").write_text("id,kind,reason\np0_1,odd,looks odd\np7_7,odd,gone\n")
    run = train(project.experiment(f"dataset.exclusions={project.folder / 'list.csv'}"), project.folder / "listed")
    assert project.said("left out: 1 slice (list.csv)")
    assert project.said("1 id of 2 in") and project.said("are not in the data: p7_7")
    assert not run.split()["id"].isin(["p0_1"]).any() and len(run.split()) == 11
    evaluate(*project.open("listed"))
    assert project.said("left out: 1 slice (list.csv)")


def test_copies_across_cases_stop_training_and_doubts_are_told_once(project):
    shutil.copy(project.data / "images" / "p0_0.png", project.data / "images" / "p0_1.png")
    train(project.experiment(), project.folder / "doubted")
    (line,) = project.said("warning: same image twice: p0_0 and p0_1: the same pixels (scan p0)")
    assert "the masks differ, Dice square" in line
    shutil.copy(project.data / "images" / "p0_0.png", project.data / "images" / "p2_2.png")
    with pytest.raises(FindingsError, match="same image in two cases: p0_0 and p2_2"):
        train(project.experiment(), project.folder / "refused")


def test_slices_that_are_bad_once_they_are_read_meet_folds(project):
    """A new session scores the folds as the run did: its networks know the same rows as the whole."""
    (project.data / "images" / "p0_1.png").unlink()
    spoilt = np.full((32, 32), 3, np.float32)
    spoilt[4, 4] = np.nan
    cv2.imwrite(str(project.data / "images" / "p0_1.tif"), spoilt)
    sets = ("dataset.on_bad=skip", 'split.fold="all"')
    done = run_folds(project.experiment(*sets), project.folder / "folds")
    assert done.evaluated.scores["slices"] == 11
    shutil.rmtree(project.folder / "folds" / "fold0" / "oof")  # so that networks predict anew
    again = evaluate(*project.open("folds"))
    assert again.own and again.scores["slices"] == 11
    assert again.scores["scores"] == done.evaluated.scores["scores"]
    assert predict(*project.open("folds"), part="all").slices == 11


@pytest.mark.parametrize("what", ["image", "mask"])
def test_data_that_changed_before_a_fold_began_stop_the_resumed_folds(project, what):
    """The fold that is missing has no split of its own yet, so the whole's must be held against the data."""
    sets, out = ('split.fold="all"',), project.folder / "folds"
    run_folds(project.experiment(*sets), out)
    shutil.rmtree(out / "fold1")
    file = project.data / f"{what}s" / "p0_0.png"
    before = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(file), before + 1 if what == "image" else np.zeros_like(before))
    with pytest.raises(RunError, match=f"1 slice has .*another {what} than when it began.*: p0_0"):
        run_folds(project.experiment(*sets), out, resume=True)
    assert not (out / "fold1").exists()
