"""What the commands of a plan are, where each of them is, and what its search looks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gisegkit.registry.annotations import show
from gisegkit.types import Axis

FINISHED = ("done", "pruned")
"""States in which nothing is left to do."""

TO_DO = ("missing", "interrupted", "failed")
"""States of a step that can be executed."""


@dataclass(frozen=True)
class Step:
    """One command of a plan.

    Attributes:
        name: of a cell, or what is done.
        words: of the command line, after ``giseg`` and without ``--device``.
        folder: the run folder that it makes or works on.
        needs: names of steps before it.
        makes: files that are there afterwards.
        run: the ``[[run]]`` of a cell, else empty.
    """

    name: str
    words: tuple[str, ...]
    folder: Path
    needs: tuple[str, ...] = ()
    makes: tuple[Path, ...] = ()
    run: str = ""


@dataclass(frozen=True)
class State:
    """Where a step is.

    Attributes:
        word: done, running, failed, changed (finished with other settings), interrupted, missing, waiting, or pruned.
        detail: the cause, or how far it is.
        seconds: that it took, None if it has not ended.
        done: share of a run that is done, from 0 to 1.
        score: of a run that is evaluated.
    """

    word: str
    detail: str = ""
    seconds: float | None = None
    done: float = 0.0
    score: float | None = None


@dataclass(frozen=True)
class Goal:
    """What the search of a plan looks for.

    Attributes:
        space: by key of the recipe.
        metric: the score, ``dice`` or ``dice/liver``.
        epochs: of a trial, the most that it can have.
        trials: how many there are at most; None if the search has an end of its own.
        run: the name of the ``[[run]]`` that is searched.
        folds: of a trial.
    """

    space: Mapping[str, Axis]
    metric: str
    maximize: bool
    epochs: int
    trials: int | None
    run: str = ""
    folds: int = 1

    @property
    def aim(self) -> dict[str, str]:
        """What is looked for and where, in words: trials of another aim are not of this search."""
        found = {"metric": self.metric, "direction": "maximize" if self.maximize else "minimize", "run": self.run}
        for key, axis in self.space.items():
            ends = show(list(axis.values)) if axis.kind == "choice" else f"[{axis.low:g}, {axis.high:g}]"
            found[key] = f"{axis.kind} {ends}"
        return found
