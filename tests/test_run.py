"""The verbs end to end on a tiny phantom: a run repeats, resumes, moves to another folder, and says what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gisegkit.errors import ComponentError, RunError, TrainingError
from gisegkit.plugins import load_plugins
from gisegkit.recipe import load_recipe
from gisegkit.registry import Adder, Owner
from gisegkit.results import evaluate, open_run, predict
from gisegkit.run import rehearse, run_recipe, train
from gisegkit.rundir import RunDir
from gisegkit.session import Session

RECIPE = """
# A tiny run for tests.

name = "tiny"

[dataset]
name = "phantom"
cases = 3
days = 1
slices = 10
test_cases = 1
cache = "{cache}"

[input]
size = [32, 32]
slices = 3

[split]
folds = 3

[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
decoder_channels = [32, 16, 16, 8, 8]

[[loss]]
name = "bce"
weight = 0.5

[[loss]]
name = "tversky"
weight = 0.5

[augmentation]
name = "baseline"

[[batch_transform]]
name = "mixup"
alpha = 0.4

[optimizer]
name = "adam"
lr = 2e-3

[schedule]
name = "cosine"
warmup = 0.1

[train]
epochs = 3
batch_size = 8
clip_norm = 1.0

[[metric]]
name = "uwmgi_score"

[[metric]]
name = "dice"

[[postprocess]]
name = "min_area"
pixels = 3

[[tracker]]
name = "csv"

[evaluate]
batch_size = 7
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.toml").write_text(RECIPE.format(cache=(folder / "cache").as_posix()))
    return folder


@pytest.fixture(scope="module")
def session():
    return Session(load_plugins(selection="none"), device="cpu")


def recipe(home, session, *overrides):
    return load_recipe(home / "tiny.toml", registries=session.plugins.registries, overrides=overrides)


@pytest.fixture(scope="module")
def finished(home, session):
    run, scores = run_recipe(recipe(home, session), home / "finished", session)
    return run, scores


def weights(run: RunDir, name: str = "last.pt"):
    return torch.load(run.path / name, weights_only=True)["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_run_folder_is_complete(finished):
    run, scores = finished
    names = {file.relative_to(run.path).as_posix() for file in run.path.rglob("*") if file.is_file()}
    assert names == {
        "recipe.toml",
        "environment.json",
        "split.csv",
        "metrics.jsonl",
        "last.pt",
        "best.pt",
        "evaluation/scores.json",
        "evaluation/by_class.csv",
        "evaluation/by_scan.csv",
        "evaluation/by_slice.csv",
        "predictions/submission.csv",
        "preview.png",
        "report.html",
        "trackers/history.csv",
    }
    epochs = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    environment = run.environment()
    assert environment["plugins"].keys() == {"gisegkit"}
    assert environment["versions"]["torch"] and environment["device"].startswith("cpu")
    assert scores["part"] == "validation" and scores["demo"] is False
    assert set(scores["conventions"]) == {"uwmgi_score", "dice"}


def test_best_epoch_is_evaluated(finished):
    run, scores = finished
    epochs = run.metrics()
    best = [entry for entry in epochs if entry["best"]][-1]
    assert scores["epoch"] == best["epoch"]
    assert scores["scores"]["uwmgi_score"] == pytest.approx(best["scores"]["uwmgi_score"], abs=1e-12)
    assert best["scores"]["uwmgi_score"] == max(entry["scores"]["uwmgi_score"] for entry in epochs)


def test_no_case_trains_and_validates(finished):
    run, _ = finished
    split = run.split()
    assert split is not None
    case = split["id"].str.split("_").str[0]
    assert not set(case[split["part"] == "train"]) & set(case[split["part"] == "validation"])
    assert (split["part"] == "unlabelled").sum() == 10


def test_submission_holds_every_unlabelled_slice_and_class(finished):
    run, _ = finished
    table = pd.read_csv(run.submission, keep_default_na=False)
    split = run.split()
    assert split is not None
    expected = sorted(split["id"][split["part"] == "unlabelled"])
    assert sorted(table["id"].unique()) == expected
    assert (
        table.groupby("id")["class"].apply(list)
        == pd.Series([["large_bowel", "small_bowel", "stomach"]] * 10, index=expected)
    ).all()


def test_same_recipe_gives_the_same_weights_and_scores(home, session, finished):
    run, scores = finished
    again, repeated = run_recipe(recipe(home, session), home / "again", session)
    assert same(weights(run), weights(again))
    assert repeated["scores"] == scores["scores"]
    assert again.submission.read_bytes() == run.submission.read_bytes()


def test_filled_recipe_gives_the_same_weights(home, session, finished):
    run, _ = finished
    filled = load_recipe(run.recipe, registries=session.plugins.registries)
    assert same(weights(run), weights(train(filled, home / "filled", session)))


def test_workers_change_nothing(home, session, finished):
    run, _ = finished
    two = train(recipe(home, session, "train.workers=2"), home / "workers", session)
    assert same(weights(run), weights(two))


def test_another_seed_gives_other_weights(home, session, finished):
    run, _ = finished
    other = train(recipe(home, session, "seed=1"), home / "seed", session)
    assert not same(weights(run), weights(other))


@pytest.mark.parametrize("kill_after", [1, 2])
def test_a_resumed_run_equals_the_uninterrupted_one(home, session, finished, kill_after):
    run, _ = finished
    folder = home / f"killed{kill_after}"

    class Killed(RuntimeError):
        pass

    lines = []

    def say(line):
        lines.append(line)
        if line.startswith(f"epoch {kill_after}/"):
            raise Killed

    with pytest.raises(Killed):
        train(recipe(home, session), folder, Session(session.plugins, "cpu", say=say))
    resumed = train(recipe(home, session), folder, session, resume=True)
    assert same(weights(run), weights(resumed))
    assert same(weights(run, "best.pt"), weights(resumed, "best.pt"))

    def plain(entry):
        return {key: value for key, value in entry.items() if key not in ("seconds", "images_per_second")}

    assert [plain(entry) for entry in resumed.metrics()] == [plain(entry) for entry in run.metrics()]


def test_a_kill_between_two_files_is_repaired(home, session, finished):
    run, _ = finished
    folder = home / "torn"
    train(recipe(home, session, "train.validate_every=1"), folder, session)
    broken = RunDir(folder)
    state = torch.load(folder / "last.pt", weights_only=True)
    assert state["epoch"] == 3
    shutil.copy(home / "killed1" / "last.pt", folder / "last.pt") if (home / "killed1" / "last.pt").is_file() else None
    train(recipe(home, session), folder, session, resume=True)
    assert same(weights(run), weights(broken))
    assert [entry["epoch"] for entry in broken.metrics()] == [1, 2, 3]


def test_resume_refuses_another_recipe(home, session, finished):
    run, _ = finished
    with pytest.raises(RunError, match=r"another recipe[\s\S]*optimizer"):
        train(recipe(home, session, "optimizer.lr=0.1"), run.path, session, resume=True)


def test_a_finished_run_is_not_overwritten(home, session, finished):
    run, _ = finished
    before = (run.path / "last.pt").read_bytes()
    with pytest.raises(RunError, match="--resume"):
        train(recipe(home, session), run.path, session)
    assert (run.path / "last.pt").read_bytes() == before


def test_a_run_folder_works_elsewhere_with_data_elsewhere(home, session, finished, tmp_path):
    run, scores = finished
    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    data = next(folder for folder in (home / "cache").iterdir() if (folder / "train.csv").is_file())
    shutil.copytree(data, tmp_path / "data")
    text = (moved / "recipe.toml").read_text().replace((home / "cache").as_posix(), (tmp_path / "nowhere").as_posix())
    (moved / "recipe.toml").write_text(text)
    folder, moved_recipe = open_run(moved, session, root=str(tmp_path / "data"))
    assert evaluate(folder, moved_recipe, session)["scores"] == scores["scores"]
    file, name, count = predict(folder, moved_recipe, session, out=tmp_path / "submission.csv")
    assert (name, count) == ("unlabelled", 10)
    assert file.read_bytes() == run.submission.read_bytes()
    assert not (tmp_path / "nowhere").exists()


def test_predict_part_validation(session, finished, tmp_path):
    run, _ = finished
    folder, opened = open_run(run.path, session, root=None)
    file, name, count = predict(folder, opened, session, out=tmp_path / "fold.csv", part="validation")
    assert (name, count) == ("validation", 10)
    assert len(pd.read_csv(file)) == 30


def test_by_slice_scores_average_to_the_score(finished):
    run, scores = finished
    by_slice = pd.read_csv(run.evaluation / "by_slice.csv")
    assert by_slice["dice"].mean() == pytest.approx(scores["scores"]["dice"], abs=1e-9)


def test_early_stopping(home, session):
    sets = ["optimizer.name=sgd", "optimizer.lr=1e-12", "train.patience=1", "train.epochs=6", "tracker.0.name=csv"]
    run = train(recipe(home, session, *sets), home / "early", session)
    best = [entry["epoch"] for entry in run.metrics() if entry["best"]]
    assert len(run.metrics()) == best[-1] + 1 < 6


def test_a_loss_that_is_not_finite_is_named(home, session):
    with pytest.raises(TrainingError, match=r"epoch 1, step \d+[\s\S]*clip_norm"):
        train(
            recipe(home, session, "optimizer.name=sgd", "optimizer.lr=1e30", "train.clip_norm=0.0"),
            home / "nan",
            session,
        )


def test_rehearse_writes_nothing(home, session):
    before = set(home.iterdir())
    lines = rehearse(recipe(home, session), session)
    assert any("parameters" in line for line in lines) and any("one batch of 2" in line for line in lines)
    assert set(home.iterdir()) == before


def test_a_plugin_loss_with_a_wrong_gradient_is_refused_before_training(home):
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-wrong", "0.1"))
    adder.loss("wrong", WrongGradient)
    for component in adder.components:
        plugins.registries[component.kind].add(component)
    session = Session(plugins, device="cpu")
    with pytest.raises(ComponentError, match=r"tiny.toml:\d+: loss 'wrong' of giseg-wrong 0.1: .*gradient is wrong"):
        train(recipe(home, session, "loss.0.name=wrong"), home / "wrong", session)
    assert not (home / "wrong").exists()


class _Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target):
        ctx.save_for_backward(logits, target)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), target)

    @staticmethod
    def backward(ctx, grad):
        logits, target = ctx.saved_tensors
        return grad * (logits.sigmoid() - target) / logits.numel() / 2, None


class WrongGradient(torch.nn.Module):
    """Cross-entropy whose backward pass is half of what it should be."""

    def forward(self, logits, target):
        return _Half.apply(logits, target)


def test_damaged_checkpoint_is_an_error(home, session, finished, tmp_path):
    run, _ = finished
    copy = tmp_path / "damaged"
    shutil.copytree(run.path, copy)
    data = (copy / "best.pt").read_bytes()
    (copy / "best.pt").write_bytes(data[: len(data) // 2])
    folder, opened = open_run(copy, session, root=None)
    with pytest.raises(RunError, match="damaged"):
        evaluate(folder, opened, session)


def test_no_global_generator_is_touched(home, session):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    train(recipe(home, session, "train.epochs=1"), home / "global", session)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_open_run_says_what_is_missing(tmp_path, session):
    with pytest.raises(RunError, match="no run folder"):
        open_run(Path(tmp_path), session, root=None)
