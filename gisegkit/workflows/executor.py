"""Where the commands of a plan are executed: here, one after another, each in a process of its own.

A command that crashes takes nothing else with it. Other executors, such as a cluster's, do the same elsewhere.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gisegkit.data.atomic_files import make_folder, reason
from gisegkit.errors import RunError


class Executor(Protocol):
    """Executes one ``giseg`` command.

    Args:
        words: of the command line, after ``giseg``.
        log: a file that what it prints is added to.

    Returns:
        Its exit status; negative for a signal.
    """

    def __call__(self, words: Sequence[str], log: Path) -> int: ...


@dataclass(frozen=True)
class Here:
    """Executes a command on this machine with this Python, and waits for it."""

    def __call__(self, words: Sequence[str], log: Path) -> int:
        """As of Executor; if this process is interrupted, the command is asked to stop, and waited for."""
        make_folder(log.parent)
        try:
            with log.open("ab") as file:
                file.write(f"$ {shlex.join(['giseg', *words])}\n".encode())
                file.flush()
                command = [sys.executable, "-m", "gisegkit", *words]
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
                )
        except OSError as error:
            raise RunError(f"{log}: the command cannot be started: {reason(error)}") from error
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def cause_of(log: Path, start: int, code: int) -> str:
    """Why a command failed, in one line of what it printed.

    Args:
        start: bytes of the log before the command.
        code: its exit status.
    """
    try:
        text = log.read_bytes()[start:].decode("utf-8", "replace")
    except OSError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("$ giseg")]
    told = [at for at, line in enumerate(lines) if line.startswith("error:")]
    if code < 0:
        return f"killed by signal {-code}" + (" (maybe memory ran out)" if code == -9 else "")
    if told:
        return " ".join(lines[told[-1] :][:3]).removeprefix("error:").strip()
    return lines[-1] if lines else f"exit status {code}"
