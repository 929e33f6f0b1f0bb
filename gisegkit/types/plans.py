"""What the components of a plan file receive and return: executors, which run commands, and searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["Axis", "Course", "Executor", "Hunt", "Job", "JobEnd", "Search", "Trial", "TrialEnd"]


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


# --- searches -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """The values that a search may give a key of the recipe.

    Attributes:
        kind: numbers from low to high, evenly (uniform) or evenly by their logarithms (log_uniform); whole numbers
            from low to high; or one of ``values``.
        low, high: both ends are included; 0 for a choice.
        values: of a choice.
    """

    kind: Literal["uniform", "log_uniform", "integer", "choice"]
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What a search asks to be run.

    Attributes:
        number: from 0; each is given once, also by a search that is made again after a kill.
        values: of every key of the space.
    """

    number: int
    values: Mapping[str, Any]


TrialEnd = Literal["done", "pruned", "failed"]
"""How a trial ended: with a score; ended early because it did not promise one; with an error."""


@dataclass(frozen=True)
class Course:
    """How far a trial is that runs.

    Attributes:
        folds: of each fold that has begun, in order, its validated epochs and their scores. A run of one fold has one.
        cases: of each fold that is scored, the score by case, in the same order.
    """

    folds: tuple[tuple[tuple[int, float], ...], ...] = ()
    cases: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Hunt:
    """What a search is given: where it may look, and for what.

    Attributes:
        space: by key of the recipe.
        maximize: whether a higher score is better.
        epochs: of a trial, or of each of its folds.
        folder: of the plan; the search may keep files of its own there, whose names begin with its own name.
        trials: that were asked for by an earlier search of this plan, and are being run or have ended.
        folds: of a trial. With one, no scores by case are told while it runs.
    """

    space: Mapping[str, Axis]
    maximize: bool
    epochs: int
    folder: str
    trials: tuple[Trial, ...] = field(default=())
    folds: int = 1


class Search(Protocol):
    """What a ``search`` component returns: it says what to try next. It is made with ``hunt``, a Hunt.

    Attributes:
        size: how many trials there are; None if there is no end.
    """

    size: int | None

    def ask(self) -> Trial | None:
        """The next trial; None if there are no more.

        The trial is written down after this. A search that was killed before may give the same one again.
        """
        ...

    def tell(self, number: int, score: float | None, end: TrialEnd) -> None:
        """A trial has ended; score is None unless it is done.

        Told again of every trial that has ended when a plan is continued. A failed one that is tried again is told
        a second time.
        """
        ...

    def prune(self, number: int, course: Course) -> str:
        """Why a trial that runs is not worth going on with, in a few words; empty if it is. Asked again and again."""
        ...
