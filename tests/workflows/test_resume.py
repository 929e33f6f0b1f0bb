"""Resuming meets everything else: data that changed, damaged files, other settings, a second process."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gisegkit.build.session import Session
from gisegkit.components.models.weights import read_weights
from gisegkit.errors import ComponentError, Interrupted, RunError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.runs.checkpoints import pack
from gisegkit.runs.folder import RunDir
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import train

pytestmark = pytest.mark.slow  # whole trainings or processes

RECIPE = """
name = "toy"
[dataset]
name = "folder"
root = "{root}"
labels = {{square = 1, block = 2}}
background = [0]
pattern = '(?P<case>p\\d+)_(?P<position>\\d+)'
[input]
size = [32, 32]
store = "off"
[normalization]
name = "dtype"
[split]
folds = 3
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
micro_batch = 0
activation_checkpointing = "off"
[[metric]]
name = "dice"
"""


def add_slice(root, name):
    rng = np.random.default_rng(list(name.encode()))
    labels = np.zeros((32, 32), np.uint8)
    y, x = rng.integers(0, 16, 2)
    labels[y : y + 9, x : x + 12] = 1
    labels[y + 9 : y + 16, x : x + 9] = 2
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    cv2.imwrite(
        str(root / "images" / f"{name}.png"), (labels * 90 + rng.integers(0, 30, labels.shape)).astype(np.uint8)
    )
    cv2.imwrite(str(root / "masks" / f"{name}.png"), labels)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, session, train_until):
    """A run of two epochs that was killed after the first, and its data."""
    folder = tmp_path_factory.mktemp("kept")
    for case in range(6):
        for position in range(2):
            add_slice(folder / "data", f"p{case}_{position}")
    (folder / "toy.toml").write_text(RECIPE.format(root=(folder / "data").as_posix()))
    chosen = load_recipe(folder / "toy.toml", registries=session.plugins.registries)
    train_until("epoch 1/", chosen, folder / "run")
    return folder


class Toy:
    """A copy of the killed run and its data, to be damaged."""

    def __init__(self, folder, session):
        self.path, self.data, self.file = folder / "run", folder / "data", folder / "toy.toml"
        self.session, self.lines = session, []
        self.run = RunDir(self.path)

    def recipe(self, *sets):
        return load_recipe(self.file, registries=self.session.plugins.registries, overrides=sets)

    def resume(self, *sets, out=None):
        self.lines.clear()
        speaking = Session(self.session.plugins, "cpu", say=self.lines.append)
        return train(speaking.experiment(self.recipe(*sets)), out or self.path, resume=True)

    def edit_recipes(self, old, new):
        """The same change in the recipe and in the run's own, as a user who edits both would make it."""
        for file in (self.file, self.path / "recipe.toml"):
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def toy(kept, tmp_path, session):
    shutil.copytree(kept, tmp_path / "copy")
    found = Toy(tmp_path / "copy", session)
    found.edit_recipes((kept / "data").as_posix(), found.data.as_posix())
    return found


# --- data that changed ----------------------------------------------------------------------------------------------


def test_a_resumed_run_keeps_its_parts(toy):
    before = (toy.path / "split.csv").read_bytes()
    run = toy.resume()
    assert [entry["epoch"] for entry in run.metrics()] == [1, 2]
    assert (toy.path / "split.csv").read_bytes() == before


def test_a_resume_refuses_new_slices_and_names_them(toy):
    for position in range(7):
        add_slice(toy.data, f"p9_{position}")
    with pytest.raises(
        RunError, match=r"7 slices are not in split\.csv: p9_0, .*and 2 more[\s\S]*Restore the data.*--out"
    ):
        toy.resume()
    assert [entry["epoch"] for entry in toy.run.metrics()] == [1]


def test_a_resume_refuses_slices_that_are_gone_or_lost_their_labels(toy):
    (toy.data / "images" / "p1_0.png").unlink()
    (toy.data / "masks" / "p1_0.png").unlink()
    with pytest.raises(RunError, match=r"1 slice is in split\.csv, but not in the data: p1_0"):
        toy.resume()


def test_a_resume_draws_no_folds_anew(toy, monkeypatch):
    """Another version may draw other folds from the same table."""
    monkeypatch.setattr("gisegkit.build.data.split_rows", lambda *_, **__: pytest.fail("folds were drawn anew"))
    toy.resume()


@pytest.mark.parametrize("damage", ["missing", "swapped", "cut", "empty", "binary", "columns"])
def test_a_resume_refuses_a_split_that_is_not_the_runs(toy, damage):
    file = toy.path / "split.csv"
    text = file.read_text()
    if damage == "missing":
        file.unlink()
    elif damage == "swapped":
        swapped = text.replace(",train", ",x").replace(",validation", ",train").replace(",x", ",validation")
        file.write_text(swapped)
    elif damage == "cut":
        file.write_text("".join(text.splitlines(keepends=True)[:-3]))
    elif damage == "empty":
        file.write_text("")
    elif damage == "binary":
        file.write_bytes(bytes(range(256)))
    else:
        file.write_text(text.replace("id,part", "slice,part"))
    with pytest.raises(RunError, match=r"split\.csv") as error:
        toy.resume()
    assert "\n" not in str(error.value)


def test_the_order_of_the_split_is_no_difference(toy):
    head, *rows = (toy.path / "split.csv").read_text().splitlines()
    (toy.path / "split.csv").write_text("\n".join([head, *rows[::-1]]) + "\n")
    assert len(toy.resume().metrics()) == 2


# --- checkpoints that are missing or damaged ------------------------------------------------------------------------


def repacked(file, **changes):
    """The checkpoint with other content and the digest that belongs to it, as no accident makes it."""
    content = torch.load(file, weights_only=True)
    content = {key: value for key, value in {**content, **changes}.items() if key != "digest" and value is not ...}
    torch.save(pack(content), file)


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_flipped_bit_of_a_weight_is_seen(toy, name):
    file = toy.path / name
    bias = torch.load(file, weights_only=True)["model"]["segmentation_head.0.bias"].numpy().tobytes()
    content = bytearray(file.read_bytes())
    content[content.index(bias) + 3] ^= 4
    file.write_bytes(content)
    with pytest.raises(RunError, match=f"{name} is damaged: its content is not what was written"):
        toy.run.state() if name == "last.pt" else toy.run.weights()
    with pytest.raises(RunError, match=f"{name}' is damaged"):
        read_weights(str(file))
    if name == "last.pt":
        with pytest.raises(RunError, match=r"last\.pt is damaged"):
            toy.resume()
    else:  # last.pt holds the same epoch
        toy.resume()
        assert any("made again of last.pt" in line for line in toy.lines)


def test_a_best_epoch_that_is_lost_is_made_again_or_refused(toy):
    (toy.path / "best.pt").unlink()
    with pytest.raises(
        RunError, match=r"best\.pt is missing; last\.pt holds the same weights: --resume makes best\.pt"
    ):
        evaluate(toy.run, toy.session.experiment(toy.recipe()))
    repacked(toy.path / "last.pt", epoch=2, best_epoch=1)
    for verb in (lambda: evaluate(toy.run, toy.session.experiment(toy.recipe())), toy.resume):
        with pytest.raises(
            RunError, match=r"missing, and last\.pt is of epoch 2, not of the best one \(1\); .*train again"
        ):
            verb()
    repacked(toy.path / "last.pt", epoch=1)
    toy.resume()
    assert any("made again of last.pt" in line for line in toy.lines)
    assert toy.run.weights()["epoch"] in (1, 2)


def test_a_run_that_was_killed_before_its_first_validation_goes_on(toy, train_until):
    shutil.rmtree(toy.path)
    train_until("epoch 1/", toy.recipe("train.validate_every=2"), toy.path)
    with pytest.raises(RunError, match="no epoch was validated; train it with --resume first"):
        toy.run.weights()
    assert [entry["best"] for entry in toy.resume("train.validate_every=2").metrics()] == [False, True]


def test_a_lost_state_starts_again_and_says_so(toy):
    (toy.path / "last.pt").unlink()
    run = toy.resume()
    assert any("last.pt is missing, although metrics.jsonl has 1 epochs" in line for line in toy.lines)
    assert [entry["epoch"] for entry in run.metrics()] == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": {}}, {"optimizer": {"state": {}, "param_groups": []}}, {"schedule": {"last_epoch": "x"}},
        {"model": {}}, {"model": {"a": torch.zeros(2)}}, {"since": 0, "scaler": {}, "micro_batch": "x"},
    ],
    ids=lambda change: "-".join(change),
)  # fmt: skip
def test_a_state_that_does_not_fit_is_refused_in_one_line(toy, change):
    repacked(toy.path / "last.pt", **change)
    try:
        toy.resume()
    except RunError as error:
        assert "last.pt" in str(error) and "\n" not in str(error)  # noqa: PT017
    else:
        assert change == {"schedule": {"last_epoch": "x"}}, "which torch takes as it is"


def test_an_optimizers_memory_of_other_shapes_is_refused(toy):
    optimizer = torch.load(toy.path / "last.pt", weights_only=True)["optimizer"]
    optimizer["state"][0]["exp_avg"] = torch.zeros(3)
    repacked(toy.path / "last.pt", optimizer=optimizer)
    with pytest.raises(RunError, match=r"its optimizer cannot be taken over .*exp_avg of shape \[3\]"):
        toy.resume()


def test_weights_that_are_not_finite_predict_nothing(toy):
    model = torch.load(toy.path / "best.pt", weights_only=True)["model"]
    model["segmentation_head.0.bias"][0] = float("nan")
    repacked(toy.path / "best.pt", model=model)
    for verb in (evaluate, predict):
        with pytest.raises(RunError, match=r"best\.pt: the weights segmentation_head\.0\.bias are not finite"):
            verb(toy.run, toy.session.experiment(toy.recipe()))
    assert not toy.run.submission.exists()
    with pytest.raises(RunError, match=r"init_from = .*not finite"):
        train(toy.session.experiment(toy.recipe(f"train.init_from={toy.path.as_posix()}")), toy.path.parent / "next")


@pytest.mark.parametrize("model", [{}, {"a": torch.zeros(2)}, {"segmentation_head.0.bias": torch.zeros(9)}])
def test_weights_of_another_network_are_refused_in_one_line(toy, model):
    repacked(toy.path / "best.pt", model=model)
    with pytest.raises(RunError, match=r"best\.pt is not of the network in the run's recipe\.toml") as error:
        evaluate(toy.run, toy.session.experiment(toy.recipe()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["half", "binary", "no epoch", "epoch x", "twice"])
def test_damaged_metrics_are_refused_before_training(toy, damage):
    file = toy.path / "metrics.jsonl"
    line = file.read_text()
    content = {
        "half": line[: len(line) // 2].encode(),
        "binary": bytes(range(256)),
        "no epoch": line.replace('"epoch": 1, ', "").encode(),
        "epoch x": line.replace('"epoch": 1', '"epoch": "<b>1</b>"').encode(),
        "twice": (line + line).encode(),
    }[damage]
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"metrics\.jsonl") as error:
        toy.resume()
    assert "\n" not in str(error.value)


def test_a_damaged_environment_is_refused_before_training(toy):
    (toy.path / "environment.json").write_bytes(b"\xff{")
    with pytest.raises(RunError, match=r"environment\.json cannot be read"):
        toy.resume()


# --- what may differ, and what may not ------------------------------------------------------------------------------


def test_each_key_that_differs_is_named_by_itself(toy):
    with pytest.raises(RunError) as error:
        toy.resume("train.epochs=9", "loss.0.weight=2.0", "optimizer.lr=0.5")
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert "train.epochs: 2 in the run, 9 now" in lines
    assert "loss.0.weight: 1.0 in the run, 2.0 now" in lines
    assert "optimizer.lr: 0.001 in the run, 0.5 now" in lines
    assert f"train.init_from={toy.path}" in str(error.value)
    with pytest.raises(RunError) as error:
        toy.resume("seed=3")
    assert "init_from" not in str(error.value)


def test_a_run_goes_on_where_its_data_lie_elsewhere(toy, kept):
    run = toy.resume(f"dataset.root={(kept / 'data').as_posix()}")
    assert len(run.metrics()) == 2
    assert any(line.startswith("dataset.root was ") for line in toy.lines)
    assert run.environment()["resumed"][0]["differs"]["dataset.root"] == (kept / "data").as_posix()


def test_other_data_elsewhere_are_refused(toy, tmp_path):
    add_slice(tmp_path / "other", "p0_0")
    with pytest.raises(RunError, match="the data are not those that the run began with"):
        toy.resume(f"dataset.root={(tmp_path / 'other').as_posix()}")


def test_classes_in_another_order_are_refused(toy):
    text = (toy.path / "recipe.toml").read_text()
    changed = text.replace("square = 1", "round = 1")
    assert changed != text
    (toy.path / "recipe.toml").write_text(changed)
    toy.file.write_text(toy.file.read_text().replace("square = 1", "round = 1"))
    with pytest.raises(RunError, match=r"trained with classes = \[.*'square'.*\], these data have \[.*'round'"):
        toy.resume()


@pytest.mark.parametrize(("was", "now"), [("fp32", "fp16"), ("fp16", "bf16")])
def test_the_precision_may_change_and_is_said(toy, was, now, train_until):
    shutil.rmtree(toy.path)
    train_until("epoch 1/", toy.recipe(f"train.precision={was}"), toy.path)
    run = toy.resume(f"train.precision={now}")
    assert any(f"device was cpu, {was}, is cpu, {now} now" in line for line in toy.lines)
    assert run.state()["precision"] == now and len(run.metrics()) == 2


def test_a_resume_elsewhere_leaves_its_trace(toy):
    stored = toy.run.environment()
    toy.run.write_json("environment.json", {**stored, "versions": {**stored["versions"], "torch": "1.0"}})
    run = toy.resume()
    assert any("versions.torch was 1.0, is " in line for line in toy.lines)
    toy.resume()
    after = [entry["after_epoch"] for entry in run.environment()["resumed"]]
    assert after == [1, 2] and run.environment()["versions"]["torch"] == "1.0"
    assert set(run.environment()["resumed"][0]["differs"]) == {"versions.torch"}


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_run_folder_that_is_deleted_in_mid_run_is_one_line(toy, session):
    out = toy.path.parent / "gone"

    def say(line):
        if line.startswith("epoch 1/"):
            shutil.rmtree(out)

    with pytest.raises(RunError, match=r"gone is gone, or its recipe\.toml is: .*epoch 2 was not kept") as error:
        train(Session(session.plugins, "cpu", say=say).experiment(toy.recipe()), out)
    assert "\n" not in str(error.value) and not out.exists()


def test_a_disk_that_fills_while_training_leaves_the_last_good_state(toy):
    before = (toy.path / "last.pt").read_bytes()
    size = (toy.path / "best.pt").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(RunError, match=r"(best|last)\.pt cannot be written: File too large") as error:
            toy.resume()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert (toy.path / "last.pt").read_bytes() == before
    assert not list(toy.path.glob(".*"))
    assert [entry["epoch"] for entry in toy.resume().metrics()] == [1, 2]


def test_what_a_killed_write_left_is_removed(toy):
    (toy.path / ".last.pt.0a1b2c3d").write_bytes(b"half")
    (toy.path / "predictions").mkdir()
    (toy.path / "predictions" / ".submission.csv.abcdefgh").write_bytes(b"half")
    evaluate(toy.run, Session(toy.session.plugins, "cpu", say=toy.lines.append).experiment(toy.recipe()))
    assert not list(toy.path.rglob(".*"))
    assert sum("which a killed process left" in line for line in toy.lines) == 2


def test_a_folder_in_use_is_refused_by_every_verb_that_writes_there(toy, hold):
    process = hold(toy.path)
    for verb in (
        toy.resume,
        lambda: evaluate(toy.run, toy.session.experiment(toy.recipe())),
        lambda: predict(toy.run, toy.session.experiment(toy.recipe())),
    ):
        with pytest.raises(RunError, match=f"in use by another giseg process .process {process.pid} "):
            verb()
    out = toy.path.parent / "begun"
    hold(out)
    for resume in (False, True):
        with pytest.raises(RunError, match="in use by another giseg process"):
            train(toy.session.experiment(toy.recipe()), out, resume=resume)


def test_an_evaluation_folder_that_cannot_be_made_is_one_line(toy):
    toy.run.evaluation.write_text("a file")
    with pytest.raises(RunError, match=r"evaluation cannot be made: .*exists") as error:
        evaluate(toy.run, toy.session.experiment(toy.recipe()))
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_made_is_one_line(toy):
    for out in (toy.file / "run", Path("/proc/nowhere/run")):
        with pytest.raises(RunError, match="--out") as error:
            train(toy.session.experiment(toy.recipe()), out)
        assert "\n" not in str(error.value)


def test_a_kill_before_the_recipe_is_written_blocks_nothing(toy):
    out = toy.path.parent / "again"
    later = ["recipe.toml", "decision.json", "last.pt", "best.pt", "metrics.jsonl"]
    shutil.copytree(toy.path, out, ignore=lambda *_: later)
    (out / ".lock").write_text("{}")
    assert RunDir.is_free(out)
    with pytest.raises(RunError, match="not a run folder"):
        RunDir.open(out)
    run = train(toy.session.experiment(toy.recipe("train.epochs=1")), out)
    assert len(run.metrics()) == 1 and not (out / ".lock").exists()
    (out / "recipe.toml").unlink()
    with pytest.raises(RunError, match="exists already and is not changed"):
        train(toy.session.experiment(toy.recipe()), out)


def test_an_interruption_says_what_is_kept(toy, session):
    def stop(line):
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    out = toy.path.parent / "stopped"
    with pytest.raises(Interrupted, match=r"interrupted in epoch 2; 1 epoch is kept in .*stopped.last\.pt") as error:
        train(Session(session.plugins, "cpu", say=stop).experiment(toy.recipe()), out)
    assert error.value.folder == str(out)
    assert toy.resume(out=out).metrics()[-1]["epoch"] == 2


# --- starting from another run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("labels", "rows"), [("block = 2, square = 1", [1, 0]), ("square = 1, other = 2", [0, None])])
def test_a_start_from_a_run_of_other_classes_matches_rows_by_name(toy, labels, rows):
    theirs = toy.run.weights()["model"]["segmentation_head.0.weight"]
    classes = toy.run.weights()["facts"]["classes"]
    toy.file.write_text(toy.file.read_text().replace("{square = 1, block = 2}", f"{{{labels}}}"))
    listening = Session(toy.session.plugins, "cpu", say=toy.lines.append)
    experiment = listening.experiment(toy.recipe(f"train.init_from={toy.path.as_posix()}"))
    mine, here = experiment.model.state_dict()["segmentation_head.0.weight"], list(experiment.classes)
    for row, name in enumerate(here):
        if name in classes:
            assert torch.equal(mine[row], theirs[classes.index(name)]), name
        else:
            assert not any(torch.equal(mine[row], other) for other in theirs)
    report = next(line for line in toy.lines if "tensors loaded" in line)
    assert (f"in the run: {', '.join(classes)}" in report) == (here != classes)


# --- states of plugins ----------------------------------------------------------------------------------------------


class Counting(torch.optim.SGD):
    """An optimizer that remembers what no checkpoint can hold; from its first step on where ``late``."""

    def __init__(self, params, *, lr: float = 0.1, late: bool = False):
        super().__init__(params, lr=lr)
        self.kept = None if late else {1, print}

    def step(self, closure=None):
        self.kept = np.float64(1.0)
        return super().step(closure)

    def state_dict(self):
        return {**super().state_dict(), "kept": self.kept}


@pytest.mark.parametrize("late", ["true", "false"])
def test_a_plugins_state_that_cannot_be_read_again_is_told_before_a_night_is_lost(toy, late):
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-count", "2.0"))
    adder.optimizer("counting", Counting)
    plugins.registries["optimizer"].add(adder.components[0])
    sets = ["optimizer.name=counting", f"optimizer.late={late}"]
    recipe = load_recipe(toy.file, registries=plugins.registries, overrides=sets)
    out = toy.path.parent / f"plugin-{late}"
    with pytest.raises(
        ComponentError, match=r"toy\.toml:\d+: the state_dict of optimizer 'counting' of giseg-count 2\.0"
    ):
        train(Session(plugins, "cpu").experiment(recipe), out)
    assert not (out / "last.pt").exists() and (late == "true") == out.exists()
