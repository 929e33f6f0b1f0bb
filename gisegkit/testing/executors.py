"""The contract of executors; gisegkit makes this check of its own only, as a plugin's may wait in a queue."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gisegkit.testing.expect import call, expect
from gisegkit.types import Job, JobEnd

PRINTS = "import os, sys; print('said', os.getcwd()); sys.exit({code})"

BEATS = """
import subprocess, sys, time
if len(sys.argv) < 3:
    subprocess.Popen([sys.executable, *sys.orig_argv[1:], "child"])
while True:
    with open(sys.argv[1] + "".join(sys.argv[2:]), "a") as file:
        file.write(".")
    time.sleep(0.02)
"""
"""Two processes that write on and on, each into a file of its own."""


def check_executor(build: Callable[..., Any], folder: Path, *, patience: float = 120.0) -> None:
    """An executor runs commands, knows how they ended, cancels them whole, and finds them again by their handles.

    Args:
        build: called as ``build()``; with ``functools.partial``, it may be given parameters of a plan. It is called
            several times, as each ``giseg plan`` does.
        folder: an empty one, or one that is not there yet; the jobs must be able to write there.
        patience: seconds that a job may take to start and end.

    Raises:
        ContractError: if it lacks a member, a job does not run as it should, or anything raises.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    executor = call("build", build)
    slots, interval = getattr(executor, "slots", None), getattr(executor, "interval", None)
    expect(isinstance(slots, int) and slots >= 1, f"slots is {slots!r}, not a whole number 1 or more")
    expect(isinstance(interval, int | float) and interval > 0, f"interval is {interval!r}, not seconds above 0")
    for code in (0, 3):
        log = folder / f"ends-{code}.log"
        log.write_text("before\n", encoding="utf-8")
        handle = _submit(executor, Job(f"ends-{code}", _python(PRINTS.format(code=code)), str(folder), str(log)))
        end = _wait(executor, handle, patience)
        expect(end.code in (code, None), f"a command that ends with {code} is said to have ended with {end.code}")
        text = log.read_text(encoding="utf-8")
        expect(text.startswith("before\n"), "a log that exists is overwritten; what is printed must be appended")
        expect(f"said {folder}" in text, f"what a command prints in {folder} is not in its log: {text!r}")
    _check_cancel(build, executor, folder, patience)
    end = call("poll of an unknown handle", build().poll, "unknown")
    expect(end == JobEnd(None, getattr(end, "cause", "")), f"poll of an unknown handle is {end!r}, not JobEnd(None)")
    call("cancel of an unknown handle", executor.cancel, "unknown")
    call("close", executor.close)


def _check_cancel(build: Callable[..., Any], executor: Any, folder: Path, patience: float) -> None:
    beats = [folder / name for name in ("beats", "beatschild")]
    job = Job("cancelled", _python(BEATS, str(beats[0])), str(folder), str(folder / "cancelled.log"))
    handle = _submit(executor, job)
    deadline = time.monotonic() + patience
    while not all(file.is_file() for file in beats):
        end = call("poll", executor.poll, handle)
        expect(end is None, f"a command that runs is said to have ended: {end!r}")
        expect(time.monotonic() < deadline, f"the command did not start within {patience:g} seconds")
        time.sleep(0.1)
    found = call("poll by a new executor", build().poll, handle)
    expect(found is None, f"a new executor, as after a kill of the coordinator, says that a running job ended: {found}")
    call("cancel", executor.cancel, handle)
    call("cancel once more", executor.cancel, handle)
    _wait(executor, handle, patience)
    time.sleep(0.2)  # a signal is on its way
    sizes = [file.stat().st_size for file in beats]
    time.sleep(0.5)
    left = [file.name for file, size in zip(beats, sizes, strict=True) if file.stat().st_size != size]
    expect(not left, f"a cancelled job is said to have ended, and processes of it still write {', '.join(left)}")


def _python(text: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text, *arguments)


def _submit(executor: Any, job: Job) -> str:
    handle = call(f"submit of {job.name!r}", executor.submit, job)
    expect(isinstance(handle, str) and handle != "", f"submit returns {handle!r}, not a text that names the job")
    return str(handle)


def _wait(executor: Any, handle: str, patience: float) -> JobEnd:
    """The end of a job."""
    deadline = time.monotonic() + patience
    while True:
        end = call("poll", executor.poll, handle)
        if end is not None:
            expect(isinstance(end, JobEnd), f"poll returns {end!r}, neither None nor a gisegkit.types.JobEnd")
            return JobEnd(end.code, end.cause)
        expect(time.monotonic() < deadline, f"the job did not end within {patience:g} seconds")
        time.sleep(0.05)
