"""executors.py: commands run side by side on this machine, and none outlives what asked it to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from gisegkit.components import executors
from gisegkit.components.executors import Local
from gisegkit.errors import RunError
from gisegkit.types import Job, JobEnd

SHOW = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ.get('OMP_NUM_THREADS'))"
WAIT = "import time\nwhile True: time.sleep(1)"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n" + WAIT


@pytest.fixture
def job(tmp_path):
    return lambda text, name="a": Job(name, (sys.executable, "-c", text), str(tmp_path), str(tmp_path / f"{name}.log"))


def ended(executor, handle):
    while (end := executor.poll(handle)) is None:
        time.sleep(0.01)
    return end


def shown(executor, job, tmp_path):
    """What commands in each of the slots see of GPUs and threads."""
    handles = [executor.submit(job(SHOW, str(slot))) for slot in range(executor.slots)]
    assert [ended(executor, handle) for handle in handles] == [JobEnd(0)] * executor.slots
    return [(tmp_path / f"{slot}.log").read_text().split()[-2:] for slot in range(executor.slots)]


def test_one_command_has_the_machine_for_itself(job, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert shown(Local(), job, tmp_path) == [["None", "None"]]


@pytest.mark.parametrize(("given", "threads"), [("", "3"), ("1", "1"), ("16", "3"), ("x", "3")])
def test_commands_share_the_cores(job, tmp_path, monkeypatch, given, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(executors, "usable_cores", lambda: 7)
    assert shown(Local(workers=2), job, tmp_path) == [["None", threads]] * 2


def test_each_command_sees_one_gpu(job, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    executor = Local()
    assert executor.slots == 3 and [gpu for gpu, _ in shown(executor, job, tmp_path)] == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7,9")
    assert [gpu for gpu, _ in shown(Local(workers=4), job, tmp_path)] == ["4", "7", "9", "4"]
    assert [gpu for gpu, _ in shown(Local(workers=2, device="cuda"), job, tmp_path)] == ["4", "7"]
    assert Local(device="cpu").slots == Local(device="cuda:1").slots == 1


def test_a_free_slot_is_used_again(job, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    executor = Local()
    first, second = executor.submit(job(WAIT, "first")), executor.submit(job(SHOW, "second"))
    ended(executor, second)
    third = executor.submit(job(SHOW, "third"))
    ended(executor, third)
    executor.cancel(first)
    assert ended(executor, first) == JobEnd(-signal.SIGTERM)
    assert [(tmp_path / f"{name}.log").read_text().split()[0] for name in ("second", "third")] == ["6", "6"]


def test_what_does_not_want_to_end_is_killed(job, monkeypatch, tmp_path):
    monkeypatch.setattr(executors, "GRACE", 0.1)
    executor = Local(workers=1)
    handle = executor.submit(job(DEAF))
    while "deaf" not in (tmp_path / "a.log").read_text():
        time.sleep(0.01)
    executor.cancel(handle)
    assert executor.poll(handle) is None
    assert ended(executor, handle) == JobEnd(-signal.SIGKILL)


def test_close_ends_own_jobs_and_those_of_an_earlier_coordinator(job):
    earlier, later = Local(workers=1), Local(workers=2)
    handles = [earlier.submit(job(WAIT, "a")), later.submit(job(WAIT, "b"))]
    assert [later.poll(handle) for handle in handles] == [None, None]
    later.close()
    assert earlier.poll(handles[0]) == JobEnd(-signal.SIGTERM)
    assert later.poll(handles[0]) == JobEnd(None, "an earlier giseg plan started it, so how it ended is not known")
    assert Local().poll(f"elsewhere:{os.getpid()}:1") == JobEnd(None, "it was started on elsewhere")
    reused = handles[1].rpartition(":")[0].rpartition(":")[0] + f":{os.getpid()}:1"  # a number that another now has
    assert Local().poll(reused).code is None and Local().poll(reused) is not None


@pytest.mark.slow
def test_a_second_interruption_kills_at_once(job, monkeypatch, tmp_path):
    executor = Local(workers=1)
    handle = executor.submit(job(DEAF))
    while "deaf" not in (tmp_path / "a.log").read_text():
        time.sleep(0.01)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        executor.close()
    assert ended(executor, handle) == JobEnd(-signal.SIGKILL)


def test_without_proc_the_start_is_asked_of_ps(monkeypatch, tmp_path):
    answers = {"S    Fri Nov 27 22:16:41 2026\n": "Fri-Nov-27-22:16:41-2026", "Z  Fri Nov 27\n": "", "": ""}
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError))
    monkeypatch.setattr(Path, "exists", lambda self: False)
    for text, found in answers.items():
        done = subprocess.CompletedProcess([], 0, text, "")
        monkeypatch.setattr(subprocess, "run", lambda *_, done=done, **__: done)
        assert executors._started(1) == found


def test_a_log_that_cannot_be_written_is_told(job, tmp_path):
    (tmp_path / "a.log").mkdir()
    with pytest.raises(RunError, match=r"a\.log: the command cannot be started"):
        Local().submit(job(SHOW))
