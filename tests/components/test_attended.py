"""A command is attended: it ends with the process that started it, also one that is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gisegkit.components.attended import Attended
from gisegkit.testing.executors import BEATS
from gisegkit.types import Job

PARENT = """
import sys
from gisegkit.components.attended import Attended
from gisegkit.types import Job
Attended(Job("x", tuple(sys.argv[3:]), sys.argv[1], sys.argv[2])).wait()
"""

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("asked", flush=True), sys.exit(9)))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def job(tmp_path):
    """Makes the job of a Python text."""

    def make(text, *arguments):
        return Job("x", (sys.executable, "-c", text, *arguments), str(tmp_path), str(tmp_path / "log"))

    return make


def until(seen):
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def still(files):
    """Whether nothing writes into the files any more."""
    sizes = [file.stat().st_size for file in files]
    time.sleep(0.3)
    return sizes == [file.stat().st_size for file in files]


@pytest.mark.parametrize("code", [0, 3, -6])
def test_it_says_how_the_command_ended_and_what_it_printed(job, tmp_path, code):
    end = "os.abort()" if code < 0 else f"sys.exit({code})"
    (tmp_path / "log").write_text("before\n")
    attended = Attended(
        job(f"import os, sys; print(os.getcwd(), os.environ['ADDED'], flush=True); {end}"), environment={"ADDED": "5"}
    )
    assert attended.wait() == code == attended.wait() == attended.stop()
    assert (tmp_path / "log").read_text().startswith(f"before\n$ giseg on {socket.gethostname()}\n{tmp_path} 5\n")


def test_a_command_that_cannot_be_started_is_told(job, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        Attended(Job("x", ("nowhere",), str(tmp_path), str(tmp_path / "log")))
    with pytest.raises(OSError, match="missing"):
        Attended(Job("x", (sys.executable,), str(tmp_path / "missing"), str(tmp_path / "log")))


def test_stop_asks_the_command_first(job, tmp_path):
    attended = Attended(job(STUBBORN))
    until(lambda: "ready" in (tmp_path / "log").read_text())
    assert attended.stop() == 9
    assert (tmp_path / "log").read_text().endswith("\nready\nasked\n")


def test_stop_in_a_signal_handler_while_the_command_is_waited_for(job, tmp_path):
    attended = Attended(job(STUBBORN))
    until(lambda: "ready" in (tmp_path / "log").read_text())
    codes = []
    before = signal.signal(signal.SIGALRM, lambda *_: codes.append(attended.stop()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert attended.wait() == 9
    finally:
        signal.signal(signal.SIGALRM, before)
    assert codes == [9]


@pytest.mark.slow
def test_signals_for_the_job_do_not_reach_the_command(job, tmp_path):
    attended = Attended(job("import time; print('ready', flush=True); time.sleep(0.5)"))
    until(lambda: "ready" in (tmp_path / "log").read_text())
    for process in (attended._guard.pid, attended._group):
        os.kill(process, signal.SIGUSR2)
    os.kill(attended._guard.pid, signal.SIGTERM)  # as a cluster sends it to all
    assert attended.wait() == 0


@pytest.mark.parametrize("who", ["parent", "guard"])
@pytest.mark.slow
def test_no_process_of_the_command_outlives_a_kill(tmp_path, who):
    beats = [tmp_path / name for name in ("beats", "beatschild")]
    command = [sys.executable, "-c", BEATS, str(beats[0])]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), str(tmp_path / "log"), *command])
    until(lambda: all(file.is_file() for file in beats))
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    if who == "guard" and not children.exists():
        parent.kill()
        parent.wait()
        return
    os.kill(parent.pid if who == "parent" else int(children.read_text().split()[0]), signal.SIGKILL)
    parent.wait()
    time.sleep(0.2)
    assert still(beats)
