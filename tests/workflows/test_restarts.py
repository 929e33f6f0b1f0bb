"""``torchrun --max-restarts``: after a process was killed, all start anew and the run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCHS = 40


def torchrun(*command, restarts=1):
    """Two processes; with the signals that Ctrl-C and a stop send as they are for a command typed by a user."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*words, "-m", "gisegkit", *map(str, command)], env=environment, **pipes)


def process(parent, rank):
    """The number of the process that torchrun has started as a rank."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(file.read_text().rpartition(")")[2].split()[1]) == parent:
                variables = (file.parent / "environ").read_bytes().split(b"\0")
                if f"RANK={rank}".encode() in variables:
                    return int(file.parent.name)
        except (OSError, IndexError):  # it has just ended
            continue
    raise AssertionError(f"no process {rank}")


def kill_in_training(running, run, rank):
    until = time.monotonic() + 200
    while not (run / "last.pt").is_file() and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process(running.pid, rank), signal.SIGKILL)
    return running.communicate(timeout=300)


@pytest.mark.distributed
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_goes_on_after_a_restart(several, tmp_path, rank):
    recipe, run = tmp_path / "r.toml", tmp_path / "run"
    recipe.write_text(several.recipe("split.fold=0", f"train.epochs={EPOCHS}", "train.validate_every=10").text())
    out, told = kill_in_training(torchrun("train", recipe, "--device", "cpu", "--out", run, "--resume"), run, rank)
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == list(range(1, EPOCHS + 1)), told
    assert out.count("resuming after epoch") == 1 and f"{ROOT}/gisegkit" not in told, f"{out}\n{told}"
    assert not list(run.glob(".lock"))


@pytest.mark.distributed
def test_without_resume_a_restart_says_what_to_do(several, tmp_path):
    recipe, run = tmp_path / "r.toml", tmp_path / "run"
    recipe.write_text(several.recipe("split.fold=0", f"train.epochs={EPOCHS}", "train.validate_every=10").text())
    running = torchrun("train", recipe, "--device", "cpu", "--out", run)
    _, told = kill_in_training(running, run, 1)
    assert running.returncode == 1 and f"{ROOT}/gisegkit" not in told, told  # no traceback of gisegkit
    assert "torchrun has started the processes again (restart 1), and only with --resume in its command" in told, told
