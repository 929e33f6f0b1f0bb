"""The processes that train one network together: here one. ``engine/ranks.py`` has several. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

from gisegkit.errors import TrainingError

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")


class Outcome(IntEnum):
    """How a try at a step ended; of several processes the largest counts, so that all do the same next."""

    FINE = 0
    OUT_OF_MEMORY = 1
    COMPILER = 2
    FATAL = 3


class PeerFailed(Exception):
    """Another process failed in the step that this one is in.

    Attributes:
        outcome: what happened there, which all processes know by now.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("in another process")
        self.outcome = outcome


class PeerLost(TrainingError):
    """Another process ended, or failed for good, so this one cannot go on; the cause is told there."""


class World:
    """One process, which shares nothing with any other. The base of ``Ranks``.

    Attributes:
        rank: the number of this process, from 0; process 0 leads: it alone writes files and prints.
        size: how many processes there are.
        one_machine: whether all of them are on one machine.
    """

    rank = 0
    size = 1
    one_machine = True

    def __str__(self) -> str:
        return "one process"

    def device(self, name: str) -> str:
        """The device of this process, where the user asks for ``auto`` or for a name."""
        return name

    def agree(self, outcome: Outcome) -> Outcome:
        """What happened in the process where most went wrong."""
        return outcome

    def check(self) -> None:
        """Say that nothing has gone wrong here.

        Raises:
            PeerFailed: if something has in another process.
        """

    def fill(self, parts: Sequence[tuple[torch.Tensor, int]]) -> None:
        """Give every process each of the tensors, in place, from the process (its rank) that has it."""

    def shape(self, shape: Sequence[int] | None, source: int) -> tuple[int, ...]:
        """A shape of up to 7 numbers that one process knows; the others give None."""
        return tuple(shape or ())

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make each gradient the sum of those of all processes."""

    def refuse_differences(self, weights: Sequence[torch.Tensor]) -> None:
        """Check that the weights are the same in all processes.

        Raises:
            TrainingError: if not.
        """

    def collect(self, own: list[T]) -> list[T]:
        """The objects of all processes, those of process 0 first."""
        return own

    def send(self, task: Any) -> None:
        """Hand a task to the processes that wait in ``receive``; only process 0 does."""

    def receive(self) -> Any:
        """The next task; None if there are no more."""
        return None

    def give(self, message: bytes) -> None:
        """Send a message to process 0, and wait until it takes it; every process but 0 may."""
        raise RuntimeError("one process has nobody to give anything to")

    def take(self, source: int) -> bytes:
        """The next message that a process gives, once it is there; only process 0 does."""
        raise RuntimeError("one process has nobody to take anything from")

    def close(self) -> None:
        """Part from the other processes, once all work is done."""


ALONE = World()
