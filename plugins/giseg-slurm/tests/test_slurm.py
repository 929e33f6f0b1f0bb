"""The executor ``slurm``, without Slurm: its contract through submitit's local executor, and what squeue's words mean.

tests/distributed runs plans on Slurm itself.
"""

from __future__ import annotations

import functools
import os
import pickle
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from gisegkit.errors import RunError
from gisegkit.testing import check_executor
from gisegkit.types import Job, JobEnd

pytest.importorskip("giseg_slurm", reason="giseg-slurm is not installed: pip install ./plugins/giseg-slurm")
from giseg_slurm.command import Command
from giseg_slurm.executor import Slurm, result
from giseg_slurm.queue import ENDS, Queue, read_queue

ROOT = Path(__file__).parent.parent

QUEUE = """\
12|PENDING|n-seed0.49c0c1.ff6c82e2
9|RUNNING|n-lr1|0.49c0c1.7f5a7009
7|NODE_FAIL|other

slurm_load_jobs: a line that is none
"""
"""As Slurm 22.05 prints it with the format that is asked for; a job may have any name."""


def test_the_entry_point_registers_it():
    (point,) = entry_points(group="gisegkit", name="slurm")
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert point.dist is not None
    assert (point.dist.name, point.dist.version) == (given["name"], given["version"])
    command = [sys.executable, "-c", "import sys, giseg_slurm; sys.exit('submitit' in sys.modules)"]
    assert subprocess.run(command).returncode == 0


@pytest.mark.slow
def test_it_keeps_the_contract(tmp_path):
    build = functools.partial(Slurm, device="cpu", folder=str(tmp_path), cluster="local", interval=0.2)
    check_executor(build, tmp_path / "work")


def test_the_queue_is_read():
    assert read_queue(QUEUE) == {
        "12": ("PENDING", "n-seed0.49c0c1.ff6c82e2"),
        "9": ("RUNNING", "n-lr1|0.49c0c1.7f5a7009"),
        "7": ("NODE_FAIL", "other"),
    }


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Makes a program ``squeue`` that prints a text and ends with a status, and says how often it was called."""
    calls = tmp_path / "calls"

    def make(text, code=0):
        script = tmp_path / "squeue"
        script.write_text(f"#!/bin/sh\necho x >> {calls}\ncat <<'END'\n{text}END\nexit {code}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return lambda: len(calls.read_text().split())

    return make


def test_one_call_tells_of_all_jobs(squeue):
    called = squeue(QUEUE)
    queue = Queue(60)
    assert queue.end("12") is None and queue.end("9") is None
    assert queue.end("7") == ENDS["NODE_FAIL"]
    end = queue.end("13")
    assert end is not None and end.code is None and "does not know" in end.cause
    assert called() == 1
    queue.forget()
    queue.end("12")
    assert called() == 2


def test_a_controller_that_does_not_answer_ends_no_job(squeue):
    squeue("", code=1)
    with pytest.warns(UserWarning, match="squeue does not answer"):
        assert Queue(60).end("12") is None


def test_without_slurm_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="squeue is not found: run giseg plan where"):
        Slurm(folder=str(tmp_path)).submit(Job("n", ("true",), "/", str(tmp_path / "log")))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"warning": 60, "minutes": 1}, "warning, 60 seconds, is not shorter than the time limit, 1 minute"),
        ({"cluster": "local", "partition": "gpu", "memory": 4.0}, "partition, memory: only Slurm knows this"),
    ],
)
def test_parameters_that_cannot_be_meant(tmp_path, parameters, message):
    with pytest.raises(RunError, match=message):
        Slurm(folder=str(tmp_path), **parameters)


def test_what_a_plan_asks_for_reaches_sbatch(tmp_path):
    """In the script that submitit writes."""
    from submitit.slurm.slurm import _make_sbatch_string

    executor = Slurm(
        folder=str(tmp_path),
        partition="gpu",
        cpus=4,
        gpus=2,
        memory=1.5,
        account="lab",
        qos="low",
        options={"constraint": "a100", "requeue": True},
        setup=["module load cuda"],
    )
    text = _make_sbatch_string(command="RUN", folder=tmp_path, **executor._sbatch())
    flags = {line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")}
    wanted = {"partition=gpu", "cpus-per-task=4", "gpus-per-node=2", "mem=1536MB", "account=lab", "qos=low"}
    assert wanted | {"constraint=a100", "requeue"} <= flags
    assert "module load cuda\n" in text and "--cpus-per-task=4 RUN" in text
    assert "gpus_per_node" not in Slurm(folder=str(tmp_path), device="cpu")._sbatch()


@pytest.mark.parametrize(
    ("written", "end"),
    [
        (("success", 0), JobEnd(0)),
        (("success", -9), JobEnd(-9)),
        (("error", "Traceback\nX: Job not requeued because: timed-out too many times.\n"), JobEnd(None, "time limit")),
    ],
)
def test_the_result_of_a_job_is_read(tmp_path, written, end):
    assert result(tmp_path, "7") is None
    (tmp_path / "7_0_result.pkl").write_bytes(pickle.dumps(written))
    assert result(tmp_path, "7") == end


def test_a_command_that_cannot_be_started_says_where_to_look(tmp_path):
    (tmp_path / "7_0_result.pkl").write_bytes(pickle.dumps(("error", "Traceback ...\nOSError: no such folder\n")))
    end = result(tmp_path, "7")
    assert end is not None and end.code == 1
    assert end.cause == f"OSError: no such folder; see {tmp_path / '7_0_log.err'}"


ATTEND = """
import sys
from giseg_slurm.command import Command
from gisegkit.types import Job
print(Command(Job("n", tuple(sys.argv[3:]), sys.argv[1], sys.argv[2]))())
"""


@pytest.mark.parametrize("who", ["job", "command"])
def test_a_job_that_is_taken_away_has_no_result(tmp_path, who, until_file):
    """Slurm signals all processes of a job, in any order; whether it starts the job again is then seen in the queue."""
    text = "import os, pathlib, time; pathlib.Path('pid').write_text(f'{os.getpid()} '); time.sleep(60)"
    command = [sys.executable, "-c", ATTEND, str(tmp_path), str(tmp_path / "log"), sys.executable, "-c", text]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pid = int(until_file(tmp_path / "pid"))
    os.kill(job.pid if who == "job" else pid, signal.SIGTERM)
    assert job.communicate()[0] == "" and job.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def until_file():
    """Waits until a file has a word; returns it."""
    import time

    def wait(file):
        while not (file.exists() and file.read_text().endswith(" ")):
            time.sleep(0.05)
        return file.read_text()

    return wait


@pytest.mark.slow
def test_a_checkpoint_ends_the_command_and_runs_the_same_again(tmp_path):
    job = Job("n", (sys.executable, "-c", "import time; time.sleep(60)"), str(tmp_path), str(tmp_path / "log"))
    command, again = Command(job), []
    before = signal.getsignal(signal.SIGTERM)
    alarm = signal.signal(signal.SIGALRM, lambda *_: again.append(command.checkpoint()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(SystemExit):
            command()
    finally:
        signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGTERM, before)
    assert pickle.loads(pickle.dumps(again[0].function)).job == job
