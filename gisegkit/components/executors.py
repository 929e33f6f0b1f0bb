"""Executors: where the commands of a plan run. Here, on this machine; plugins bring clusters."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated

from gisegkit.errors import RunError
from gisegkit.machine import usable_cores
from gisegkit.types import AtLeast, Job, JobEnd

GRACE = 20.0
"""Seconds that a command has to end by itself once it was asked to."""

THREADS = "OMP_NUM_THREADS"


class Local:
    """Runs commands on this machine, several side by side, each in a process of its own.

    With several GPUs, each command sees one of them. On a CPU, commands that run side by side share the cores.

    Args:
        device: the device that the commands are told to use.
        workers: how many commands run at once; 0 is one for each GPU, or one if there is no GPU.
    """

    interval = 0.2

    def __init__(self, *, device: str = "auto", workers: Annotated[int, AtLeast(0)] = 0) -> None:
        self.device, self.workers = device, workers
        self._own: dict[str, subprocess.Popen[bytes]] = {}
        self._slot_of: dict[str, int] = {}
        self._found: set[str] = set()  # jobs of an earlier coordinator that still run
        self._until: dict[str, float] = {}  # when a cancelled job is killed

    @cached_property
    def gpus(self) -> list[str]:
        """The GPUs that commands are spread over, as CUDA_VISIBLE_DEVICES names them; empty if there is only one."""
        if self.device not in ("auto", "cuda"):
            return []
        import torch

        number, visible = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",")[:number] if visible else [str(index) for index in range(number)]
        return names if number > 1 else []

    @property
    def slots(self) -> int:
        """How many commands run at once."""
        return self.workers or max(1, len(self.gpus))

    def submit(self, job: Job) -> str:
        """Start a command.

        Raises:
            RunError: if its log cannot be written, or the program cannot be started.
        """
        slot = min(set(range(len(self._slot_of) + 1)) - set(self._slot_of.values()))
        try:
            with Path(job.log).open("ab") as log:
                process = subprocess.Popen(
                    job.command,
                    cwd=job.cwd,
                    env=os.environ | self._environment(slot),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that Ctrl-C reaches the coordinator alone, and a group can be killed
                )
        except OSError as error:
            raise RunError(f"{job.log}: the command cannot be started: {error.strerror or error}") from error
        handle = f"{socket.gethostname()}:{process.pid}:{_started(process.pid)}"
        self._own[handle], self._slot_of[handle] = process, slot
        return handle

    def _environment(self, slot: int) -> dict[str, str]:
        """Which GPU a command sees, and how many threads it has."""
        found = {}
        if self.gpus:
            found["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        if self.slots > 1:
            share = max(1, usable_cores() // self.slots)
            given = os.environ.get(THREADS, "")
            found[THREADS] = str(min(share, int(given)) if given.isdigit() and int(given) else share)
        return found

    def poll(self, handle: str) -> JobEnd | None:
        """How a command ended; None while it runs."""
        process = self._own.get(handle)
        if process is None:
            return self._poll_found(handle)
        code = process.poll()
        if code is None:
            if time.monotonic() > self._until.get(handle, float("inf")):
                _signal(process.pid, signal.SIGKILL)
            return None
        if handle in self._until or code < 0:
            _signal(process.pid, signal.SIGKILL)  # what it started and left, such as loader workers
        self._forget(handle)
        return JobEnd(code)

    def _poll_found(self, handle: str) -> JobEnd | None:
        """The same for a command of an earlier coordinator, whose exit status nobody has."""
        host, pid, started = _parts(handle)
        if host != socket.gethostname():
            return JobEnd(None, f"it was started on {host}" if host else "it is unknown")
        if started and _started(pid) == started:
            self._found.add(handle)
            if time.monotonic() > self._until.get(handle, float("inf")):
                _signal(pid, signal.SIGKILL)
            return None
        self._forget(handle)
        return JobEnd(None, "an earlier giseg plan started it, so how it ended is not known")

    def _forget(self, handle: str) -> None:
        self._own.pop(handle, None)
        self._slot_of.pop(handle, None)
        self._until.pop(handle, None)
        self._found.discard(handle)

    def cancel(self, handle: str) -> None:
        """Ask a command and all processes that it started to end; what does not within 20 seconds is killed."""
        if handle not in self._until and self.poll(handle) is None:
            self._until[handle] = time.monotonic() + GRACE
            _signal(_parts(handle)[1], signal.SIGTERM)

    def close(self) -> None:
        """Cancel what still runs, and wait for it. Runs keep their finished epochs."""
        left = {*self._own, *self._found}
        try:
            for handle in left:
                self.cancel(handle)
            while left := {handle for handle in left if self.poll(handle) is None}:
                time.sleep(0.05)
        except BaseException:  # the user does not want to wait
            for handle in left:
                _signal(_parts(handle)[1], signal.SIGKILL)
            raise


def _parts(handle: str) -> tuple[str, int, str]:
    """Host, process and when that was started."""
    host, _, rest = handle.partition(":")
    pid, _, started = rest.partition(":")
    return (host, int(pid), started) if pid.isdigit() else ("", 0, "")


def _started(pid: int) -> str:
    """When a process was started, so that another one with its number is not taken for it; empty if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        shown = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True)
        fields = shown.stdout.split()
        return "" if not fields or fields[0].startswith("Z") else "-".join(fields[1:])
    return "" if fields[0] == "Z" else fields[19]


def _signal(group: int, number: int) -> None:
    """Send a signal to all processes of a group; that there are none any more is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
