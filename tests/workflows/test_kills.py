"""Real processes, real kills: ``local`` runs cells, Optuna searches, and nothing is lost or doubled.

A cell's command is a small program in place of a training: it adds an epoch to ``metrics.jsonl`` every tenth of a
second, goes on after the last one if it is started again, and becomes a finished run after the fifth.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import optuna
import pytest

pytestmark = pytest.mark.slow  # processes that import gisegkit

TRAIN = """
import json, os, pathlib, shutil, sys, time
folder, made, failing = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3] == "fails"
folder.mkdir(exist_ok=True)
if not (folder / "recipe.toml").is_file():
    shutil.copy(f"{folder}.recipe", folder / "recipe.toml")
file = folder / "metrics.jsonl"
for _ in range(5):
    lines = file.read_text().splitlines() if file.is_file() else []
    if len(lines) == 5:
        break
    time.sleep(0.1)
    entry = {"epoch": len(lines) + 1, "seconds": 0.1, "peak_memory": os.getpid(), "scores": {"dice": 0.1}}
    temporary = file.with_suffix(".tmp")
    temporary.write_text("\\n".join([*lines, json.dumps(entry)]) + "\\n")
    os.replace(temporary, file)
if failing:
    sys.exit("error: the third loss is not finite")
for name in ("predictions", "evaluation"):
    shutil.copytree(made / name, folder / name, dirs_exist_ok=True)
shutil.copy(f"{folder}.recipe", folder / "evaluation" / "recipe.toml")
"""

COORDINATE = """
import sys
from dataclasses import replace
from pathlib import Path
from gisegkit.components.executors import Local
from gisegkit.plugins import load_plugins
from gisegkit.workflows.plan import open_plan, run_plan

class Quick(Local):
    interval = 0.02

    def __init__(self, recipes, train, made, failing):
        super().__init__(workers=2)
        self.recipes, self.train, self.made, self.failing = recipes, train, made, failing

    def submit(self, job):
        folder = Path(job.command[job.command.index("--out") + 1])
        Path(f"{folder}.recipe").write_text(self.recipes[job.name].text())
        end = "fails" if job.name == self.failing else ""
        return super().submit(replace(job, command=(sys.executable, "-S", self.train, str(folder), self.made, end)))

def coordinate(plan, out, train, made, failing="none", say=lambda line: print(line, flush=True)):
    work = open_plan(Path(plan), load_plugins(selection="giseg-optuna").registries, out=Path(out), device="cpu")
    return run_plan(work, Quick(work.recipes, train, made, failing), say=say)

if __name__ == "__main__":
    sys.exit(0 if coordinate(*sys.argv[1:]).complete else 1)
"""

SEARCH = """
[[run]]
name = "n"
recipe = "recipe.toml"
[search]
name = "optuna"
trials = 5
prune = "none"
[search.space]
"optimizer.lr" = {log_uniform = [1e-6, 1.0]}
"""

SWEEP = """
[[run]]
name = "n"
recipe = "recipe.toml"
seeds = [0, 1]
[run.vary]
"loss.0.name" = ["bce", "dice", "jaccard"]
"""


@pytest.fixture
def words(several, one_run, tmp_path):
    """The arguments of a coordinator, whose files are there."""
    (tmp_path / "recipe.toml").write_text(several.recipe("split.fold=0", "train.epochs=5").text())
    (tmp_path / "train.py").write_text(TRAIN)
    return [*(str(tmp_path / name) for name in ("plan.toml", "p", "train.py")), str(one_run)]


@pytest.fixture
def begin(words, tmp_path):
    """Starts a coordinator in a process of its own; all that it started is killed at the end."""
    (tmp_path / "coordinate.py").write_text(COORDINATE)
    started = []

    def start(plan):
        (tmp_path / "plan.toml").write_text(plan)
        command = [sys.executable, str(tmp_path / "coordinate.py"), *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    for pid in jobs(tmp_path / "p").values():
        with suppress(OSError):
            if str(tmp_path) in Path(f"/proc/{pid}/cmdline").read_text():
                os.killpg(pid, signal.SIGKILL)


def record(folder):
    file = folder / "plan.json"
    return json.loads(file.read_text())["steps"] if file.is_file() else {}


def jobs(folder):
    """The processes of the jobs that run, by name."""
    return {name: int(step["job"].split(":")[1]) for name, step in record(folder).items() if step["job"]}


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def epochs(folder, name):
    file = folder / name / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


@pytest.mark.distributed
def test_with_optuna_a_worker_and_the_coordinator_are_killed_and_the_next_is_interrupted(begin, tmp_path):
    """Every trial is run once, each epoch once, and Optuna knows the end of every one."""
    folder = tmp_path / "p"
    first = begin(SEARCH)
    name = wait_until(lambda: next((name for name in jobs(folder) if 1 <= len(epochs(folder, name)) <= 3), None))
    os.killpg(jobs(folder)[name], signal.SIGKILL)
    wait_until(lambda: record(folder)[name]["code"] == -signal.SIGKILL)
    wait_until(lambda: len(jobs(folder)) == 2 and all(epochs(folder, job) for job in jobs(folder)))
    first.kill()
    first.communicate()
    second = begin(SEARCH)
    wait_until(lambda: any(len(epochs(folder, job)) in (1, 2) for job in jobs(folder)) or second.poll() is not None)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=300)
    third = begin(SEARCH)
    text, _ = third.communicate(timeout=300)
    assert third.returncode == 0, text
    assert jobs(folder) == {}
    trials = json.loads((folder / "trials.json").read_text())["trials"]
    assert [trial["number"] for trial in trials] == list(range(5))
    assert len({trial["values"]["optimizer.lr"] for trial in trials}) == 5
    for number in range(5):
        found = epochs(folder, f"n-trial{number:03d}")
        assert [entry["epoch"] for entry in found] == [1, 2, 3, 4, 5]
    assert len({entry["peak_memory"] for entry in epochs(folder, name)}) == 2  # two processes: it was continued
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
    study = optuna.load_study(study_name="giseg", storage=optuna.storages.JournalStorage(backend))
    done = [trial.user_attrs["number"] for trial in study.trials if trial.state.name == "COMPLETE"]
    assert sorted(done) == list(range(5)) and not [one for one in study.trials if one.state.name == "RUNNING"]


def test_two_processes_sweep_with_a_cell_that_fails_and_only_that_is_tried_again(words, make_module, tmp_path):
    """Three losses with two seeds each."""
    coordinate = importlib.import_module(make_module(COORDINATE)).coordinate
    Path(words[0]).write_text(SWEEP)
    lines = []
    ran = coordinate(*words, "n-dice-seed1", say=lines.append)
    assert ran.tried == 6 and [name for name, state in ran.states.items() if state.word != "done"] == ["n-dice-seed1"]
    assert any("n-dice-seed1: failed" in line and "the third loss is not finite" in line for line in lines)
    ran = coordinate(*words, say=lines.append)
    assert ran.complete and ran.tried == 1 and lines[-1].startswith("[4/6] n-dice-seed1: done")
