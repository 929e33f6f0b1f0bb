"""What runs on the node: the command of a job, until it has ended or the cluster wants the node back."""

from __future__ import annotations

import signal
from typing import Any

from submitit.core.utils import DelayedSubmission

from gisegkit.components.attended import Attended
from gisegkit.types import Job

TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit statuses of a command that SIGTERM has ended."""


class Command:
    """Runs the command of a job; its result is the exit status.

    Shortly before the time limit, submitit calls ``checkpoint``, and has Slurm start the job again. The command is not
    changed for that: a run continues after its last epoch.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> int:
        """Run the command; returns its exit status, and raises SystemExit if the job was ended from outside."""
        attended = self._attended = Attended(self.job)
        taken = False

        def take(*_: Any) -> None:
            nonlocal taken
            taken = True
            attended.stop()

        signal.signal(signal.SIGTERM, take)
        code = attended.wait()
        if taken or code in TERMINATED:  # cancelled or preempted, which Slurm knows: there is no result
            raise SystemExit(128 + signal.SIGTERM)
        return code

    def checkpoint(self) -> DelayedSubmission:
        """End the command; returns what is run when the job has been started again."""
        self._attended.stop()
        return DelayedSubmission(Command(self.job))

    def __getstate__(self) -> dict[str, Any]:
        return {"job": self.job}
