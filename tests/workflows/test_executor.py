"""Commands in processes of their own, and why they failed."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from gisegkit.errors import RunError
from gisegkit.workflows.executor import Here, cause_of


def test_what_a_command_prints_is_added_to_the_log(tmp_path):
    log = tmp_path / "logs" / "a.log"
    assert Here()(["--version"], log) == 0
    first = log.read_text()
    assert first.startswith("$ giseg --version\n") and "version" in first.splitlines()[1]
    assert Here()(["train", str(tmp_path / "none.toml")], log) == 2
    assert log.read_text().startswith(first)
    cause = cause_of(log, len(first.encode()), 2)
    assert "none.toml: 1 mistake" in cause and "no such recipe" in cause and "\n" not in cause


def test_an_interruption_stops_the_command_too(tmp_path):
    """The command waits for somebody to write its recipe into a pipe, which nobody reads once it has ended."""
    pipe, log = tmp_path / "recipe.toml", tmp_path / "a.log"
    os.mkfifo(pipe)

    def interrupt():
        handle = os.open(pipe, os.O_WRONLY)  # as soon as the command reads
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait()
        os.close(handle)

    ended = threading.Event()
    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        Here()(["check", str(pipe)], log)
    ended.set()
    other.join()
    with pytest.raises(OSError, match="No such device"):
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "a.log").mkdir()
    with pytest.raises(RunError, match=r"a\.log: the command cannot be started"):
        Here()(["--version"], tmp_path / "a.log")


@pytest.mark.parametrize(
    ("text", "code", "cause"),
    [
        ("epoch 1\nerror: no data; give a root\n", 2, "no data; give a root"),
        ("error: old\n$ giseg run x\nTraceback\nValueError: shapes\n", 1, "old Traceback ValueError: shapes"),
        ("Traceback\n  line\nValueError: shapes\n", 1, "ValueError: shapes"),
        ("epoch 1\n", -9, "killed by signal 9 (maybe memory ran out)"),
        ("epoch 1\n", -11, "killed by signal 11"),
        ("$ giseg run x\n", 3, "exit status 3"),
    ],
)
def test_the_cause_is_one_line(tmp_path, text, code, cause):
    log = tmp_path / "a.log"
    log.write_text(text)
    assert cause_of(log, 0, code) == cause
    assert cause_of(tmp_path / "none.log", 0, 3) == "exit status 3"
    begun = len(text)
    with log.open("a") as file:
        file.write("error: new\n")
    assert cause_of(log, begun, 2) == "new"
