"""What Slurm's queue says of the user's jobs, in one call for all. Accounting is not asked; many clusters have none."""

from __future__ import annotations

import os
import subprocess
import time
import warnings

from gisegkit.errors import RunError
from gisegkit.types import JobEnd

FORMAT = "%i|%T|%j"

ENDS = {
    "BOOT_FAIL": JobEnd(None, "its node did not boot"),
    "CANCELLED": JobEnd(-15, "the job was cancelled"),
    "COMPLETED": JobEnd(None),
    "DEADLINE": JobEnd(None, "deadline"),
    "FAILED": JobEnd(None, "Slurm says FAILED"),
    "LAUNCH_FAILED": JobEnd(None, "it could not be launched"),
    "NODE_FAIL": JobEnd(None, "its node failed"),
    "OUT_OF_MEMORY": JobEnd(-9, "memory ran out: raise memory in [executor]"),
    "PREEMPTED": JobEnd(None, "preempted"),
    "REVOKED": JobEnd(None, "revoked"),
    "TIMEOUT": JobEnd(None, "time limit"),
}
"""What the states mean that a job does not leave by itself; in all others, it waits or runs."""

GONE = JobEnd(None, "Slurm does not know the job any more")


def read_queue(text: str) -> dict[str, tuple[str, str]]:
    """State and name of each job by its number, from what squeue prints."""
    rows = [line.strip().split("|", 2) for line in text.splitlines()]
    return {number: (state, name) for number, state, name in (row for row in rows if len(row) == 3)}


class Queue:
    """The user's jobs as squeue lists them, asked for at most once in some seconds.

    Args:
        seconds: that an answer is good for.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._jobs: dict[str, tuple[str, str]] | None = None
        self._asked = -float("inf")

    def jobs(self) -> dict[str, tuple[str, str]] | None:
        """State and name of each job by its number; None if Slurm does not answer.

        Raises:
            RunError: if there is no squeue here.
        """
        if time.monotonic() - self._asked >= self.seconds:
            self._jobs = self._ask()
            self._asked = time.monotonic()
        return self._jobs

    def forget(self) -> None:
        """Ask again next time: a job has been submitted or cancelled."""
        self._asked = -float("inf")

    def end(self, number: str) -> JobEnd | None:
        """How a job ended, as far as Slurm knows; None while it waits or runs, and if Slurm does not answer."""
        jobs = self.jobs()
        if jobs is None:
            return None
        return ENDS.get(jobs[number][0]) if number in jobs else GONE

    def _ask(self) -> dict[str, tuple[str, str]] | None:
        command = ["squeue", "--noheader", "--states=all", f"--user={os.getuid()}", f"--format={FORMAT}"]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except FileNotFoundError as error:
            raise RunError("squeue is not found: run giseg plan where Slurm's commands are, on a login node") from error
        except subprocess.TimeoutExpired:
            warnings.warn("squeue does not answer within two minutes; giseg plan goes on waiting", stacklevel=2)
            return None
        if asked.returncode:
            warnings.warn(f"squeue does not answer ({asked.stderr.strip()}); giseg plan waits for it", stacklevel=2)
            return None
        return read_queue(asked.stdout)
