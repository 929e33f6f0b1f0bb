"""What the components of a plan file receive and return: executors, which run commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """A command that an executor is to run.

    Attributes:
        name: of the step of the plan, for the queue of a cluster.
        command: the program and its arguments. The first one is this Python.
        cwd: the folder that it is started in, an absolute path.
        log: the file that what it prints is appended to, an absolute path. Its folder exists.
    """

    name: str
    command: tuple[str, ...]
    cwd: str
    log: str


@dataclass(frozen=True)
class JobEnd:
    """A job that does not run any more, and will not run again by itself.

    Attributes:
        code: its exit status, negative for a signal; None if that is unknown, or if the job was taken from its machine
            (a time limit, preemption, a node that died). What became of a run is then seen in its folder.
        cause: what the executor knows of the reason, in a few words; may be empty.
    """

    code: int | None = None
    cause: str = ""


class Executor(Protocol):
    """What an ``executor`` component returns: it runs commands somewhere, and says which have ended.

    Attributes:
        slots: how many jobs it can be given at once, 1 or more; the coordinator submits no more. An executor with a
            queue of its own may have many.
        interval: seconds between two rounds of ``poll``.
    """

    slots: int
    interval: float

    def submit(self, job: Job) -> str:
        """Start a job, or put it into a queue, and return at once.

        Returns:
            A handle. It is written down: after a kill of the coordinator, ``poll`` of a new executor is asked about it.
        """
        ...

    def poll(self, handle: str) -> JobEnd | None:
        """How a job ended; None while it waits, runs, or will be started again by the cluster itself."""
        ...

    def cancel(self, handle: str) -> None:
        """Ask a job to end, with all its processes, and return at once; ``poll`` tells when it has ended."""
        ...

    def close(self) -> None:
        """The coordinator stops, maybe by Ctrl-C: end what must not outlive it. Jobs that may go on are left."""
        ...
