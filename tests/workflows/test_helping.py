"""What other processes predict and score for process 0: to the last bit what one process does; errors end all."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from gisegkit.build.alike import REMEDY
from gisegkit.build.tasks import ask
from gisegkit.data.probability_file import ProbabilityReader
from gisegkit.errors import DataError
from gisegkit.workflows.ensemble import make_ensemble
from gisegkit.workflows.helping import experiment_of
from gisegkit.workflows.pseudo_labels import PREFIX

RUNS = Path(__file__).with_name("several_runs.py")
UNLIKE = Path(__file__).with_name("alike_runs.py")
WRITERS = 'writer=[{name="submission"}, {name="probabilities"}]'
MORE = ("--part", "all", "--set", "evaluate.batch_size=1", "--set", WRITERS)
"""Of one slice a batch: there are several rounds of turns."""


def run(commands, folder):
    """Run commands, each with its number of processes; gives what every process has printed, and the exit codes."""
    (folder / "commands.json").write_text(json.dumps(commands, default=str))
    command = [sys.executable, str(RUNS), "listed", str(folder / "commands.json"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(RUNS.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    logs = {file.name: file.read_text() for file in sorted(folder.glob("log_*"))}
    assert done.returncode == 0, f"{done.stderr}\n{logs}"
    return ast.literal_eval((folder / "codes").read_text()), logs


def contents(folder):
    """Of all files in a folder the bytes, but for lines with the time, and of archives what is in them."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.name == "probabilities.npz":
            with ProbabilityReader(file) as reader:
                scans = {scan: list(reader.slices(scan)) for scan in reader.scans}
            found[name] = {scan: [(key, one.tobytes()) for key, one in slices] for scan, slices in scans.items()}
        elif file.suffix == ".npz":
            with np.load(file) as arrays:
                found[name] = {key: (arrays[key].shape, arrays[key].tobytes()) for key in arrays.files}
        elif file.suffix in (".csv", ".png", ".npy", ".nii", ".gz", ".toml"):
            found[name] = file.read_bytes()
    return found


@pytest.fixture(scope="module")
def shared(several, folds_run, tmp_path_factory):
    """A folder with a copy of the run of several folds, and data with three unlabelled cases."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(folds_run.run.path, folder / "run")
    shutil.copytree(several.folder / "t", folder / "data")
    for case in (7, 8):
        for position in range(2):
            image = cv2.imread(str(folder / "data" / "more" / f"t6_{position}.png"), cv2.IMREAD_UNCHANGED)
            name = f"t{case}_{position}.png"
            assert cv2.imwrite(str(folder / "data" / "more" / name), np.roll(image, case, axis=1))
    return folder


@pytest.mark.distributed
def test_predictions_of_several_processes_are_those_of_one(shared, tmp_path):
    """Of one network and of several, submissions, probabilities and pseudo-labels."""
    commands = []
    for name, count in [("run", 1), ("run", 2), ("run", 3), ("run/fold1", 1), ("run/fold1", 2)]:
        out = tmp_path / str(count) / f"{Path(name).name}.csv"
        words = ["predict", shared / name, "--root", shared / "data", "--out", out, "--device", "cpu", *MORE]
        commands.append([words, count, {}])
    for count in (1, 2):
        out = tmp_path / str(count) / "labels"
        words = ["predict", shared / "run", "--root", shared / "data", "--as-labels", out, "--certain", "0.6"]
        commands.append([[*words, "--device", "cpu"], count, {}])
    codes, logs = run(commands, tmp_path)
    assert codes == [[0] * count for _, count, _ in commands], logs
    assert not any(text for name, text in logs.items() if not name.endswith(".0")), "only process 0 prints"
    one, two, three = (contents(tmp_path / str(count)) for count in (1, 2, 3))
    labels = [name for name in one if PREFIX in name]
    assert len(one["run.csv"].splitlines()) == 1 + 2 * 18 and len(labels) == 3 * 2 * (1 + 2)
    assert two.keys() == one.keys() and len([name for name in three if name.endswith(".npz")]) == 9
    for name, content in [*two.items(), *three.items()]:
        assert content == one[name] or name.endswith((".recipe.toml", "dataset.toml")), name


@pytest.mark.distributed
def test_folds_are_evaluated_and_kept_by_several_processes_as_by_one(shared, tmp_path):
    whole, reference = tmp_path / "run", shared / "run"
    shutil.copytree(reference, whole)
    made = [f"fold{number}/{name}" for number in range(3) for name in ("evaluation", "oof")]
    for place in ("evaluation", "predictions", *made):
        shutil.rmtree(whole / place)
    recipe = whole / "recipe.toml"
    other = ["evaluate", whole, "--set", 'predict.tta=["hflip"]', "--device", "cpu"]
    commands = [
        [["run", recipe, "--out", whole, "--resume", "--device", "cpu"], 2, {}],
        [[*other, "--out", tmp_path / "one"], 1, {}],
        [[*other, "--out", tmp_path / "two"], 2, {}],
    ]
    codes, logs = run(commands, tmp_path)
    assert codes == [[0, 0], [0], [0, 0]], logs
    again, before = contents(whole), contents(reference)
    kept = [f"fold{k}/oof/probabilities.npz" for k in range(3)]
    tables = [name for name in before if name.endswith(".csv") and "evaluation" in name]
    assert len(tables) >= 4 * 3
    for name in (*kept, *tables):
        assert again[name] == before[name], name
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one == two and one["by_slice.csv"] != before["evaluation/by_slice.csv"]


@pytest.mark.distributed
@pytest.mark.parametrize("part", ["unlabelled", "all"])
def test_a_gate_is_asked_once_for_all_processes(several, shared, tmp_path, part):
    out = tmp_path / "gated"
    session, run_ = several.session(), shared / "run"
    make_ensemble(session, [run_ / "fold0", run_ / "fold1"], out, gate=run_ / "fold2", gate_pixels=12)
    commands = [
        [["predict", out, "--part", part, "--out", tmp_path / f"{count}.csv", "--device", "cpu"], count, {}]
        for count in (1, 2)
    ]
    codes, logs = run(commands, tmp_path)
    assert codes == [[0], [0, 0]], logs
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert logs["log_1.0"].count("elsewhere it empties them") == 1


@pytest.mark.distributed
@pytest.mark.parametrize("rank", [0, 1])
def test_a_slice_that_one_process_cannot_read_ends_all(shared, tmp_path, rank):
    out = tmp_path / "labels"
    words = ["predict", shared / "run", "--root", shared / "data", "--as-labels", out, "--device", "cpu"]
    codes, logs = run([[words, 2, {"unreadable": rank}]], tmp_path)
    assert codes[0][rank] == 2 and codes[0][0] in (2, 143), logs
    told = logs[f"log_0.{rank}"]
    assert "error: process 1 of 2: slice " in told if rank else "error: slice " in told
    assert "cannot be read" in told and "Traceback" not in "".join(logs.values())
    assert not (out / "labels.csv").exists()


@pytest.mark.distributed
def test_processes_that_see_other_slices_or_run_other_versions_end_the_run(several, tmp_path):
    shutil.copytree(several.folder / "t", tmp_path / "t")
    text = several.recipe("split.fold=0", "train.epochs=1").text()
    (tmp_path / "r.toml").write_text(text.replace((several.folder / "t").as_posix(), (tmp_path / "t").as_posix()))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(UNLIKE.parents[2])}
    command = [sys.executable, str(UNLIKE), str(tmp_path / "r.toml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    logs = {file.name: file.read_text() for file in sorted(tmp_path.glob("log_*"))}
    assert done.returncode == 0, f"{done.stderr}\n{logs}"
    codes = ast.literal_eval((tmp_path / "codes").read_text())
    assert codes == {"image": [2, 2], "mask": [2, 2], "versions": [2, 2], "none": [0, 0], "predicted": [2, 2]}, logs
    one = "sees other {} than process 0 in t0_1, the first of 1 slice that differ: " + REMEDY
    assert f"error: process 1 {one.format('pixels')}" in logs["log_image.0"]
    assert f"error: process 1 {one.format('masks')}" in logs["log_mask.0"]
    assert f"error: process 1 {one.replace('t0_1', 't5_1').format('pixels')}" in logs["log_predicted.0"]
    assert not (tmp_path / "p.csv").exists()
    assert "error: process 1 has torch 0.1 and process 0 torch " in logs["log_versions.0"]
    told = [name for name in codes if "error:" in logs[f"log_{name}.1"]]
    assert not told, "an error that all processes have is told once"
    assert "epoch 1/1" in logs["log_none.0"]


@pytest.fixture
def task(session, recipe, noting):
    """What the others are asked for, to score with a new network."""
    ask(replace(session, world=noting).experiment(recipe()), "score")
    return noting.sent[0]


def test_a_process_that_sees_other_slices_ends_the_run(session, task):
    helper = experiment_of(task, None, session.plugins, session.world)
    assert experiment_of(task, helper, session.plugins, session.world) is helper, "data are built once"
    with pytest.raises(DataError, match="process 0 finds other slices than process 0"):
        experiment_of(replace(task, data="other"), helper, session.plugins, session.world)


@pytest.mark.slow
def test_another_fold_has_the_same_data_and_a_network_of_its_own(session, task):
    before = experiment_of(task, None, session.plugins, session.world)
    dataset, model = before.dataset, before.model
    other = replace(task, recipe=replace(task.recipe, split=replace(task.recipe.split, fold=1)))
    after = experiment_of(other, before, session.plugins, session.world)
    assert after is not before and after.dataset is dataset and after.model is not model
    assert "model" not in before.__dict__, "two networks are not in memory"
