"""The verbs end to end on a tiny phantom: a run repeats, resumes, moves to another folder, and says what it is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from gisegkit.build.session import Session
from gisegkit.errors import ComponentError, DataError, RunError, TrainingError
from gisegkit.recipe.load import load_recipe
from gisegkit.runs.folder import RunDir
from gisegkit.workflows.check import smoke_test
from gisegkit.workflows.run import run_recipe
from gisegkit.workflows.train import train


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
        "decision.json",
        "evaluation/scores.json",
        "evaluation/recipe.toml",
        "evaluation/by_class.csv",
        "evaluation/by_scan.csv",
        "evaluation/by_slice.csv",
        "predictions/submission.csv",
        "predictions/recipe.toml",
        "predictions/files.json",
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


def test_no_case_trains_and_validates(finished):
    run, _ = finished
    split = run.split()
    assert split is not None
    case = split["id"].str.split("_").str[0]
    assert not set(case[split["part"] == "train"]) & set(case[split["part"] == "validation"])
    assert (split["part"] == "unlabelled").sum() == 10


@pytest.mark.slow
def test_same_recipe_gives_the_same_weights_and_scores(home, session, finished, recipe):
    run, scores = finished
    said: list[str] = []
    again, evaluated, _ = run_recipe(replace(session, say=said.append).experiment(recipe()), home / "again")
    repeated = evaluated.scores
    assert same(weights(run), weights(again))
    assert repeated["scores"] == scores["scores"]
    assert again.submission.read_bytes() == run.submission.read_bytes()
    epochs = [line for line in said if line.startswith("epoch ")]
    assert epochs and all(line.endswith(" left for the whole run") for line in epochs), "evaluation and prediction too"


@pytest.mark.slow
def test_a_part_without_slices_is_refused_before_the_training_and_not_after_it(home, session, recipe):
    settings = recipe("dataset.test_cases=0", "predict.part=unlabelled")
    with pytest.raises(DataError, match=r"choose another predict\.part"):
        run_recipe(session.experiment(settings), home / "nothing-to-predict")
    assert not (home / "nothing-to-predict" / "recipe.toml").exists()


def test_the_filled_recipe_of_a_run_is_its_recipe(session, finished, recipe):
    run, _ = finished
    assert load_recipe(run.recipe, registries=session.plugins.registries).as_dict() == recipe().as_dict()


@pytest.mark.slow
def test_workers_change_nothing(home, session, finished, recipe):
    run, _ = finished
    two = train(session.experiment(recipe("train.workers=2")), home / "workers")
    assert same(weights(run), weights(two))


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(home, session, finished, recipe, train_until):
    run, _ = finished
    folder = home / "killed"
    train_until("epoch 2/", recipe(), folder)
    resumed = train(session.experiment(recipe()), folder, resume=True)
    assert same(weights(run), weights(resumed))
    assert same(weights(run, "best.pt"), weights(resumed, "best.pt"))

    def plain(entry):
        measured = ("seconds", "images_per_second", "peak_memory")
        return {key: value for key, value in entry.items() if key not in measured}

    assert [plain(entry) for entry in resumed.metrics()] == [plain(entry) for entry in run.metrics()]


@pytest.mark.slow
def test_a_kill_between_two_files_is_repaired(home, session, finished, recipe):
    """The newest metrics and best weights are written, last.pt is not: the epoch is repeated, nothing stands twice."""
    run, _ = finished
    folder = home / "torn"
    early = []

    def keep(line):
        if line.startswith("epoch 1/"):
            early.append((folder / "last.pt").read_bytes())

    torn = train(Session(session.plugins, "cpu", say=keep).experiment(recipe()), folder)
    (folder / "last.pt").write_bytes(early[0])
    train(session.experiment(recipe()), folder, resume=True)
    assert same(weights(run), weights(torn))
    assert [entry["epoch"] for entry in torn.metrics()] == [1, 2, 3]


def test_resume_refuses_another_recipe(session, finished, recipe):
    run, _ = finished
    with pytest.raises(RunError, match=r"another recipe[\s\S]*optimizer"):
        train(session.experiment(recipe("optimizer.lr=0.1")), run.path, resume=True)


def test_a_finished_run_is_not_overwritten(home, session, finished, recipe):
    run, _ = finished
    before = (run.path / "last.pt").read_bytes()
    with pytest.raises(RunError, match="--resume"):
        train(session.experiment(recipe()), run.path)
    assert (run.path / "last.pt").read_bytes() == before


@pytest.mark.slow
def test_early_stopping(home, session, recipe):
    sets = ["optimizer.name=sgd", "optimizer.lr=1e-12", "train.patience=1", "train.epochs=6", "tracker.0.name=csv"]
    said: list[str] = []
    run = train(replace(session, say=said.append).experiment(recipe(*sets)), home / "early")
    assert all("  at most about " in line and line.endswith(" left") for line in said if line.startswith("epoch "))
    best = [entry["epoch"] for entry in run.metrics() if entry["best"]]
    assert len(run.metrics()) == best[-1] + 1 < 6


def test_a_loss_that_is_not_finite_is_named(home, session, recipe):
    with pytest.raises(TrainingError, match=r"epoch 1, step \d+[\s\S]*max_grad_norm"):
        train(
            session.experiment(recipe("optimizer.name=sgd", "optimizer.lr=1e30", "train.max_grad_norm=0.0")),
            home / "nan",
        )


@pytest.mark.slow
def test_no_global_generator_is_touched(home, session, recipe):
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    train(session.experiment(recipe("train.epochs=1")), home / "global")
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


@pytest.mark.slow
def test_half_precision_trains_and_resumes_exactly(home, session, recipe, train_until):
    """The gradient scaler's state is part of what a run goes on from."""
    sets = ["train.precision=fp16", "train.epochs=2", "model.name=r2unet", "model.width=4", "model.depth=2"]
    sets.append("input.size=[16,16]")  # a CPU computes in half precision slowly
    whole = train(session.experiment(recipe(*sets)), home / "whole-fp16")
    assert all(np.isfinite(entry["loss"]) for entry in whole.metrics())
    folder = home / "killed-fp16"
    train_until("epoch 1/", recipe(*sets), folder)
    assert same(weights(whole), weights(train(session.experiment(recipe(*sets)), folder, resume=True)))


@pytest.mark.slow
def test_micro_batches_with_clipping_train(home, session, recipe):
    run = train(session.experiment(recipe("train.micro_batch=4", "train.epochs=5")), home / "micro")
    losses = [entry["loss"] for entry in run.metrics()]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_network_that_cannot_be_compiled_trains_all_the_same_and_the_run_says_so(
    monkeypatch, home, session, finished, recipe
):
    def compiler(model):
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(torch, "compile", compiler)
    lines = []
    run = train(
        Session(session.plugins, "cpu", say=lines.append).experiment(recipe("train.compile=true")), home / "compiled"
    )
    plain, _ = finished
    assert same(weights(plain), weights(run))
    notes = [line for line in lines if line.startswith("train.compile = true")]
    assert len(notes) == 1 and "no compiler on this machine" in notes[0]
    assert run.metrics()[0]["notes"] == notes
    assert any(
        "no compiler on this machine" in line for line in smoke_test(session.experiment(recipe("train.compile=true")))
    )


DEEP = ("model.depth=5", "model.decoder_channels=[8,8,8,8,8]")  # whose deepest map is one pixel


def test_one_slice_that_batch_normalization_cannot_train_on_is_said_in_words(home, session, recipe):
    with pytest.raises(TrainingError, match=r"Raise train\.micro_batch"):
        train(session.experiment(recipe("train.micro_batch=1", *DEEP)), home / "single")


# --- memory ---------------------------------------------------------------------------------------------------------


def trained_with_faults(monkeypatch, recipe, folder, session, *, faults):
    """A run whose n-th backward passes run out of memory; also every batch that a step ended up with."""
    import gisegkit.engine.fit as module

    calls, batches, backward, split = [0], {}, torch.Tensor.backward, module.split

    def failing(self, *args, **keywords):
        backward(self, *args, **keywords)
        calls[0] += not isinstance(self, FakeTensor)  # those belong to the prediction of memory
        if calls[0] in faults:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def recording(batch, size, **keywords):
        key = tuple(batch.rows.tolist())
        content = (batch.images.sum().item(), [(weight, target.nansum().item()) for weight, target in batch.targets])
        assert batches.setdefault((len(state_of(folder)), key), content) == content, "a repetition saw other data"
        return split(batch, size, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", failing)
        patch.setattr(module, "split", recording)
        lines = []

        def say(line):
            lines.append(line)
            session.say(line)

        run = train(Session(session.plugins, "cpu", say=say).experiment(recipe), folder)
    return run, list(batches.items()), lines


def state_of(folder):
    file = folder / "metrics.jsonl"
    return file.read_text().splitlines() if file.is_file() else []


@pytest.fixture(scope="module")
def faultless(tmp_path_factory, session, recipe):
    """The tiny recipe without a fault."""
    with pytest.MonkeyPatch.context() as patch:
        return trained_with_faults(patch, recipe(), tmp_path_factory.mktemp("faultless") / "run", session, faults=())


@pytest.mark.parametrize("fault", [1, 5, 9])  # a first step, one amid and the last of all
@pytest.mark.slow
def test_memory_that_runs_out_at_any_step_changes_neither_data_nor_draws_nor_steps(
    monkeypatch, home, session, recipe, faultless, fault
):
    plain, expected, _ = faultless
    run, seen, lines = trained_with_faults(monkeypatch, recipe(), home / f"fault-{fault}", session, faults=(fault,))
    assert len(expected) == 9, "three steps in each of three epochs"
    assert seen == expected
    notes = [line for line in lines if line.startswith("memory ran out")]
    epoch, step = (fault - 1) // 3 + 1, (fault - 1) % 3 + 1
    assert len(notes) == 1 and f"epoch {epoch}, step {step}:" in notes[0]
    assert run.metrics()[epoch - 1]["notes"] == notes
    clean, faulty = plain.state(), run.state()
    assert faulty["schedule"]["last_epoch"] == clean["schedule"]["last_epoch"] == 9
    assert faulty["optimizer"]["state"][0]["step"] == 9


@pytest.mark.slow
def test_a_resumed_run_keeps_the_micro_batch_that_memory_left(monkeypatch, home, session, recipe):
    settings = recipe("train.epochs=2", "train.activation_checkpointing=auto")
    whole, _, _ = trained_with_faults(monkeypatch, settings, home / "fault-whole", session, faults=(1,))
    assert whole.state()["recomputing"] is True  # 8 is the whole batch; a healthy one, so recomputing comes first

    class Killed(Exception):
        pass

    def die(line):
        if line.startswith("epoch 1/"):
            raise Killed

    with pytest.raises(Killed):
        trained_with_faults(
            monkeypatch, settings, home / "fault-killed", Session(session.plugins, "cpu", say=die), faults=(1,)
        )
    resumed = train(session.experiment(settings), home / "fault-killed", resume=True)
    assert same(weights(whole), weights(resumed))
    assert resumed.state()["recomputing"] is True


def test_memory_that_runs_out_in_the_optimizer_is_no_step_to_repeat(monkeypatch, home, session, recipe):
    step = torch.optim.Adam.step

    def failing(self, *args, **keywords):
        if len(self.param_groups[0]["params"]) > 1:  # not the trial on a single weight that planning makes
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self, *args, **keywords)

    monkeypatch.setattr(torch.optim.Adam, "step", failing)
    with pytest.raises(TrainingError, match=r"optimizer updated the weights, at epoch 1, step 1.*--resume"):
        train(session.experiment(recipe()), home / "optimizer-fault")


@pytest.mark.slow
def test_the_plan_is_kept_and_a_small_budget_is_met(home, session, recipe):
    lines = []
    speaking = Session(session.plugins, "cpu", say=lines.append)
    run = train(speaking.experiment(recipe("train.epochs=1", "train.memory=64GiB")), home / "planned")
    plan = run.environment()["memory"]
    assert plan["micro_batch"] == 8 and plan["predicted"] < plan["budget"]
    assert sum(plan["parts"].values()) == plan["predicted"]
    assert any(line.startswith("memory: all 8 slices at once: ") for line in lines)
    fixed = plan["predicted"] - plan["parts"]["activations"] - plan["parts"]["workspace"]
    budget = fixed + (plan["predicted"] - fixed) // 2
    small = train(speaking.experiment(recipe("train.epochs=1", f"train.memory={budget}B")), home / "small-memory")
    planned = small.environment()["memory"]
    assert planned["predicted"] <= budget
    assert planned["checkpointing"] or planned["micro_batch"] < 8


@pytest.mark.slow
def test_a_budget_that_nothing_fits_is_refused_with_ways_out(home, session, recipe):
    with pytest.raises(TrainingError, match=r"(?s)predicted to take .*train\.memory.*What would help.*encoder.*--set"):
        train(session.experiment(recipe("train.memory=200KB")), home / "no-memory")
    assert not (home / "no-memory").exists()


# --- losses by epoch ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_loss_may_begin_and_end_and_each_is_logged_by_name(home, session, recipe):
    run = train(
        session.experiment(recipe("loss.0.end_epoch=2", "loss.1.start_epoch=2", "loss.1.weight=2.0")), home / "schedule"
    )
    entries = run.metrics()
    assert [list(entry["losses"]) for entry in entries] == [["bce"], ["bce", "tversky"], ["tversky"]]
    assert entries[0]["loss"] == pytest.approx(0.5 * entries[0]["losses"]["bce"])
    assert entries[1]["loss"] == pytest.approx(
        0.5 * entries[1]["losses"]["bce"] + 2.0 * entries[1]["losses"]["tversky"]
    )
    assert entries[2]["loss"] == pytest.approx(2.0 * entries[2]["losses"]["tversky"])
    history = (run.trackers / "history.csv").read_text().splitlines()
    assert "loss/bce" in history[0] and "loss/tversky" in history[0]


# --- exclusive classes ----------------------------------------------------------------------------------------------


def test_cross_entropy_is_refused_on_classes_that_may_overlap(home, session, recipe):
    with pytest.raises(ComponentError, match=r"tiny\.toml.*'ce'.*'phantom' \(large_bowel, .*may overlap; use bce"):
        train(session.experiment(recipe("loss.1.name=ce")), home / "overlaps")
    assert not (home / "overlaps").exists()


@pytest.mark.slow
def test_cross_entropy_trains_on_label_files_and_its_masks_exclude_one_another(home, session, tmp_path):
    """Two classes and a background in one label file: softmax in training and in prediction."""
    import cv2

    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        labels = np.zeros((32, 32), np.uint8)
        labels[4 + number : 14 + number, 3:15] = 1
        labels[10:20, 15 + number : 25 + number] = 2
        image = (labels * 90 + rng.integers(0, 30, labels.shape)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image)
        cv2.imwrite(str(tmp_path / "masks" / f"{number}.png"), labels)
    text = f"""
name = "exclusive"
[dataset]
name = "folder"
root = "{tmp_path.as_posix()}"
labels = {{square = 1, block = 2}}
background = [0]
[input]
size = [32, 32]
[normalization]
name = "dtype"
[split]
group = "slice"
folds = 1
[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
depth = 3
decoder_channels = [16, 8, 8]
[[loss]]
name = "ce"
[optimizer]
name = "adam"
lr = 1e-2
[train]
epochs = 40
batch_size = 3
validate_every = 40
"""
    (tmp_path / "exclusive.toml").write_text(text)
    chosen = load_recipe(tmp_path / "exclusive.toml", registries=session.plugins.registries)
    run, evaluated, _ = run_recipe(session.experiment(chosen), tmp_path / "out")
    scores = evaluated.scores
    assert scores["scores"]["dice"] > 0.8
    rows = (run.predictions / "submission.csv").read_text().splitlines()[1:]
    pixels = {}
    for row in rows:
        name, _, runs = row.split(",")
        starts, lengths = np.array(runs.split(), dtype=int).reshape(-1, 2).T
        own = {pixel for start, length in zip(starts, lengths, strict=True) for pixel in range(start, start + length)}
        assert not own & pixels.setdefault(name, set())
        pixels[name] |= own
    assert all(pixels.values())


# --- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_starts_from_another_runs_weights_and_says_what_matched(home, session, recipe, finished):
    first, _ = finished
    lines = []
    start = f"train.init_from={first.path.as_posix()}"
    run = train(
        Session(session.plugins, "cpu", say=lines.append).experiment(
            recipe(start, "train.epochs=1", "optimizer.lr=1e-12")
        ),
        home / "continued",
    )
    report = next(line for line in lines if "tensors loaded" in line)
    assert f"of the run {first.path.as_posix()}" in report and "random" not in report
    continued = weights(run)
    for name, value in weights(first, "best.pt").items():
        if value.is_floating_point() and "running" not in name:
            assert torch.allclose(value, continued[name], atol=1e-6), name


def test_another_network_is_not_continued(home, session, recipe, finished):
    start = f"train.init_from={finished[0].path.as_posix()}"
    with pytest.raises(RunError, match="is not a run folder"):
        train(session.experiment(recipe("train.init_from=nowhere")), home / "from-nowhere")
    other = ("model.name=r2unet", "model.width=4", "model.depth=3")
    with pytest.raises(ComponentError, match=r"init_from: nothing in .*finished.* fits this network"):
        train(session.experiment(recipe(start, *other)), home / "from-another")
    assert not (home / "from-another").exists()


@pytest.mark.slow
def test_a_run_may_go_on_in_smaller_pieces(home, session, recipe, train_until):
    folder = home / "recut"
    train_until("epoch 1/", recipe(), folder)
    assert RunDir.open(folder).state()["micro_batch"] == 8
    lines = []
    run = train(
        Session(session.plugins, "cpu", say=lines.append).experiment(recipe("train.micro_batch=4")), folder, resume=True
    )
    assert run.state()["micro_batch"] == 4
    assert "batches are cut anew, into micro-batches of 4 (were 8)" in lines
