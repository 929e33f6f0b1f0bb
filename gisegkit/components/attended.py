"""A command that ends with the process that started it: for executors whose cluster starts a Python process for a job.

Clusters end a job by its first process, and do not know what that has started. So a guard, which is this file run as a
program, starts the command and holds the end of a pipe; when the other end closes, by whatever death, it kills the
command with all its processes. The file needs nothing but the standard library, so that the guard starts at once.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gisegkit.types import Job

GRACE = 20.0
"""Seconds that a command has to end by itself once it was asked to."""

FOR_JOBS = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a cluster sends to all processes of a job, and that the command must not die of."""


class Attended:
    """Starts the command of a job; it is killed if this process ends.

    ``wait`` and ``stop`` may be called in a signal handler, also while the other one is at work.

    Args:
        job: whose command is started in its folder; what that prints is appended to its log, after the line
            ``$ giseg on HOST``, by which a coordinator knows that the job waits no more.
        environment: variables besides, or in place of, those of this process.

    Raises:
        OSError: if the command cannot be started here; says why.
    """

    def __init__(self, job: Job, *, environment: Mapping[str, str] | None = None) -> None:
        self._said = b""
        self._guard = subprocess.Popen(
            [sys.executable, "-I", __file__, job.log, job.cwd, *job.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | dict(environment or {}),
            bufsize=0,
        )
        while b"\n" not in self._said and self._read():
            pass
        head, *_ = self._said.split(b"\n")
        if not head.isdigit():
            self._reap()
            raise OSError(head.decode(errors="replace") or "the command cannot be started")
        self._group = int(head)

    def wait(self) -> int:
        """Wait for the command; returns its exit status, negative for a signal."""
        while self._read():
            pass
        self._reap()
        _kill(self._group)  # in case the guard was killed
        code = self._said.split(b"\n")[1]
        return int(code) if code else -signal.SIGKILL

    def poll(self) -> int | None:
        """The exit status of the command; None while it runs."""
        pipe = self._guard.stdout
        return self.wait() if pipe is None or pipe.closed or select.select([pipe], [], [], 0)[0] else None

    def stop(self) -> int:
        """Ask the command to end, and kill what does not within 20 seconds; returns its exit status."""
        with suppress(OSError, ValueError):  # it has ended
            os.write(self._guard.stdin.fileno(), b"\n")  # type: ignore[union-attr]
        return self.wait()

    def _read(self) -> bytes:
        """What the guard says next; empty when it has ended."""
        try:
            said = os.read(self._guard.stdout.fileno(), 1000)  # type: ignore[union-attr]
        except (OSError, ValueError):  # it is closed: a signal handler has read the rest
            return b""
        self._said += said
        return said

    def _reap(self) -> None:
        with suppress(ChildProcessError):  # a signal handler has done it
            os.waitpid(self._guard.pid, 0)
        self._guard.returncode = 0
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                pipe.close()


def _kill(group: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _obey(group: int) -> None:
    """Wait until the other side asks for an end, or has ended itself."""
    if os.read(sys.stdin.fileno(), 1):
        _kill(group, signal.SIGTERM)
        select.select([sys.stdin], [], [], GRACE)
    _kill(group)


def _guard(log: str, cwd: str, *command: str) -> None:
    """Start the command, write its process group and then its exit status."""
    for number in FOR_JOBS:
        signal.signal(number, signal.SIG_IGN)  # which the command inherits
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # which it does not: whoever waits says when it ends
    try:
        with open(log, "ab") as file:
            file.write(f"$ giseg on {socket.gethostname()}\n".encode())
            file.flush()
            process = subprocess.Popen(
                command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        return
    sys.stdout.write(f"{process.pid}\n")
    sys.stdout.flush()
    threading.Thread(target=_obey, args=[process.pid], daemon=True).start()
    code = process.wait()
    _kill(process.pid)  # what it started and left
    sys.stdout.write(f"{code}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _guard(*sys.argv[1:])
