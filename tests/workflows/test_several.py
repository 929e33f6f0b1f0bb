"""Runs in several processes: the same results as in one, one writer, causes told, and resuming with another number."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from gisegkit.errors import TrainingError
from gisegkit.workflows.several import ask_to_train, score_together
from gisegkit.workflows.train import train

RUNS = Path(__file__).with_name("several_runs.py")


def start(kind, home, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(RUNS.parents[2])}
    command = [sys.executable, str(RUNS), kind, str(home / "tiny.toml"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    logs = {file.name: file.read_text() for file in sorted(folder.glob("log_*"))}
    assert done.returncode == 0, f"{done.stderr}\n{logs}"
    return logs


def assert_same(run, other):
    """Equal epochs but for rounding, equal scores of equal masks, and the same files."""
    lines = [(one / "metrics.jsonl").read_text().splitlines() for one in (run, other)]
    epochs = [[json.loads(line) for line in each] for each in lines]
    assert len(epochs[0]) == len(epochs[1])
    for one, two in zip(*epochs, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
        assert one["validation_loss"] == pytest.approx(two["validation_loss"], abs=1e-5)
        assert one["scores"] == pytest.approx(two["scores"], abs=1e-4)
    tables = [pd.read_csv(one / "evaluation" / "by_scan.csv") for one in (run, other)]
    pd.testing.assert_frame_equal(*tables, atol=1e-3)
    files = [{file.relative_to(one).as_posix() for file in one.rglob("*") if file.is_file()} for one in (run, other)]
    assert files[0] == files[1] and not any(".lock" in name for name in files[0])


@pytest.mark.distributed
def test_two_processes_write_one_run(home, tmp_path):
    logs = start("short", home, tmp_path)
    assert_same(tmp_path / "two", tmp_path / "one")
    assert logs["log_two.1"] == "", "only process 0 prints"
    assert "up to 8 slices at a time are trained on in 2 pieces for 2 processes" in logs["log_two.0"]
    assert "2 processes, 2 on this machine, connected by gloo" in logs["log_two.0"]
    assert "giseg plan works in one process, and 2 were started; start it without torchrun" in logs["log_plan.0"]
    environment = [json.loads((tmp_path / run / "environment.json").read_text()) for run in ("one", "two")]
    assert [one["processes"] for one in environment] == [1, 2]


@pytest.mark.distributed
def test_a_run_goes_on_with_other_numbers_of_processes_after_a_kill_and_a_stop(home, tmp_path):
    logs = start("long", home, tmp_path)
    codes = ast.literal_eval((tmp_path / "codes").read_text())
    assert codes[0] == [0]
    assert codes[1][1] == -9 and codes[1][0] in (2, 143) and codes[1][2] in (2, -15)
    told = logs["log_killed.0"]
    assert "another process of this run has ended" in told or "1 epoch is kept in" in told
    assert codes[2][0] == 143 and "resume: torchrun ... -m gisegkit run" in logs["log_stopped.0"]
    assert "batches stay cut as they were before: micro-batches of 8 in 3 pieces" in logs["log_stopped.0"]
    assert codes[3:] == [[0], [0, 0, 0], [0, 0], [0]]
    assert_same(tmp_path / "run", tmp_path / "reference")
    again, own = (pd.read_csv(tmp_path / name / "by_slice.csv") for name in ("again", "run/evaluation"))
    pd.testing.assert_frame_equal(again, own)  # equal weights, equal scores
    resumed = json.loads((tmp_path / "run" / "environment.json").read_text())["resumed"]
    assert [entry["processes"] for entry in resumed] == [2, 1]
    for fold in ("fold0", "fold1"):
        assert_same(tmp_path / "folds" / fold, tmp_path / "folds_one" / fold)


@pytest.mark.distributed
def test_torchrun_starts_a_run(home, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "gisegkit", "train"]
    command += [str(home / "tiny.toml"), "--out", str(tmp_path / "run"), "--device", "cpu", "--set", "train.epochs=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(RUNS.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder:") == 1
    wrong = subprocess.run(
        [*command, "--set", "split.folds=99"], capture_output=True, text=True, timeout=300, env=environment
    )
    assert wrong.returncode == 1 and wrong.stderr.count("exists already and is not changed") == 1


def test_a_script_that_torchrun_starts_does_not_train_several_times(session, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="WORLD_SIZE = 2: 2 processes were started, and from Python each would"):
        train(session.experiment(recipe()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_process_asks_nobody(session, recipe):
    experiment = session.experiment(recipe())
    ask_to_train(experiment, None)
    board, panels = score_together(experiment, experiment.split.validation)
    assert board.recorded and panels
