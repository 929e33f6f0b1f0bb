"""The contract check of executors finds those that break it; each is ``local`` but for one thing."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gisegkit.components.executors import Local
from gisegkit.testing import ContractError, check_executor
from gisegkit.types import JobEnd


class Overwrites(Local):
    def submit(self, job):
        Path(job.log).unlink()
        return super().submit(job)


class Elsewhere(Local):
    def submit(self, job):
        return super().submit(replace(job, cwd="/"))


class NumbersHandles(Local):
    def submit(self, job):
        super().submit(job)
        return 7


class ReturnsCodes(Local):
    def poll(self, handle):
        end = super().poll(handle)
        return None if end is None else end.code


class AlwaysRight(Local):
    def poll(self, handle):
        end = super().poll(handle)
        return end and JobEnd(0)


class Forgetful(Local):
    """Knows its own jobs alone."""

    def _poll_found(self, handle):
        return JobEnd()


class LeaderOnly(Local):
    """Cancels the command, and not what it started."""

    def cancel(self, handle):
        if handle in self._own:
            self._own[handle].kill()

    def poll(self, handle):
        if handle not in self._own:
            return super().poll(handle)
        code = self._own[handle].poll()
        return None if code is None else JobEnd(code)


class Strict(Local):
    def _poll_found(self, handle):
        if handle == "unknown":
            raise KeyError(handle)
        return super()._poll_found(handle)


def with_slots(number):
    return type("Slots", (Local,), {"slots": number})


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        (with_slots(0), "slots is 0, not a whole number 1 or more"),
        (with_slots(None), "slots is None"),
        (type("Hurried", (Local,), {"interval": 0}), "interval is 0, not seconds above 0"),
        (Overwrites, "a log that exists is overwritten"),
        (Elsewhere, "is not in its log"),
        (NumbersHandles, "submit returns 7, not a text"),
        (ReturnsCodes, "poll returns 0, neither None nor"),
        (AlwaysRight, "a command that ends with 3 is said to have ended with 0"),
        (Forgetful, "a new executor, as after a kill of the coordinator, says that a running job ended"),
        (LeaderOnly, "a cancelled job is said to have ended, and processes of it still write beatschild"),
        (Strict, "poll of an unknown handle: it raises KeyError"),
    ],
)
@pytest.mark.slow
def test_wrong_executors_are_found(tmp_path, executor, message):
    made = []

    def build():
        made.append(executor(workers=1))
        return made[-1]

    try:
        with pytest.raises(ContractError, match=message):
            check_executor(build, tmp_path)
    finally:
        for process in made[0]._own.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_one_that_never_starts_a_job_is_found(tmp_path):
    class Never(Local):
        def submit(self, job):
            return "never"

        def poll(self, handle):
            return None

    with pytest.raises(ContractError, match=r"the job did not end within 0\.1 seconds"):
        check_executor(Never, tmp_path, patience=0.1)
