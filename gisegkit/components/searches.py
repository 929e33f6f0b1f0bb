"""Searches: what a plan tries next. All points of a grid, or points at random; plugins bring cleverer ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np

from gisegkit.errors import ComponentError
from gisegkit.types import AtLeast, Axis, Course, Hunt, Trial, TrialEnd

DIGITS = 6
"""Significant digits of a number that is drawn, so that names and tables can be read."""

STARTUP, POINTS = 4, 5


def refuse_unused(because: str, **params: object) -> None:
    """Refuse parameters that are set and that nothing would use.

    Raises:
        ComponentError: names each, its value, and why.
    """
    found = [f"{name} = {value}" for name, value in params.items() if value is not None]
    if found:
        raise ComponentError(f"with {because}, nothing uses {' and '.join(found)}: leave it out")


def refuse_endless(warmup: int | None, hunt: Hunt) -> None:
    """Refuse a warm-up that lasts as long as a trial, so that none would ever be pruned.

    Raises:
        ComponentError: names it, and the epochs.
    """
    if warmup and warmup >= hunt.epochs:
        raise ComponentError(
            f"warmup = {warmup}, and a trial has {hunt.epochs} epochs, so none would be pruned: give it less, or write "
            'prune = "none"'
        )


class Median:
    """The median rule: a trial ends whose best score so far is worse than half of the others had at that epoch.

    Args:
        maximize: whether a higher score is better.
        startup: trials that must have ended before.
        warmup: epochs that every trial may have.
    """

    def __init__(self, *, maximize: bool, startup: int, warmup: int) -> None:
        self.sign = 1.0 if maximize else -1.0
        self.startup, self.warmup = startup, warmup
        self.courses: dict[int, tuple[tuple[int, float], ...]] = {}
        self.ended: set[int] = set()

    def prune(self, number: int, course: Course) -> str:
        """Why a trial ends, within its first fold; empty if it continues."""
        own = self.courses[number] = course.folds[0] if course.folds else ()
        if not own or len(course.folds) > 1:
            return ""
        epoch = own[-1][0]
        others = [self.best(self.courses[other], epoch) for other in self.ended if other in self.courses]
        known = [value for value in others if math.isfinite(value)]
        if epoch <= self.warmup or len(known) < self.startup:
            return ""
        best, median = self.best(own, epoch), statistics.median(known)
        if not best < median:
            return ""
        found, middle = self.sign * best, self.sign * median
        return f"after epoch {epoch}, its best score {found:.4f} is worse than the median {middle:.4f}"

    def best(self, course: tuple[tuple[int, float], ...], epoch: int) -> float:
        """The best score until an epoch, such that higher is better; NaN if there is none."""
        return max(
            (self.sign * score for at, score in course if at <= epoch and math.isfinite(score)), default=math.nan
        )


class _Searched:
    """What grid and random have in common: trials are known by their number alone, so that nothing has to be kept."""

    size: int | None = None

    def __init__(self, hunt: Hunt, prune: str, startup: int | None, warmup: int | None) -> None:
        if prune == "none":
            refuse_unused('prune = "none"', startup=startup, warmup=warmup)
        refuse_endless(warmup, hunt)
        startup, warmup = STARTUP if startup is None else startup, warmup or 0
        self.hunt = hunt
        self.next = 1 + max((trial.number for trial in hunt.trials), default=-1)
        self.median = Median(maximize=hunt.maximize, startup=startup, warmup=warmup) if prune == "median" else None

    def ask(self) -> Trial | None:
        """The next trial; None if there are no more."""
        if self.size is not None and self.next >= self.size:
            return None
        trial = Trial(self.next, self.values(self.next))
        self.next += 1
        return trial

    def values(self, number: int) -> dict[str, Any]:
        """The values of a trial."""
        raise NotImplementedError

    def tell(self, number: int, score: float | None, end: TrialEnd) -> None:
        """Take the end of a trial: only those that are done count for the median."""
        if self.median is not None and end == "done":
            self.median.ended.add(number)

    def prune(self, number: int, course: Course) -> str:
        """Why a trial ends early; empty if it continues."""
        return "" if self.median is None else self.median.prune(number, course)


class Grid(_Searched):
    """All combinations of the values of the space.

    Args:
        hunt: the space, and what is searched for.
        points: values of each uniform and log_uniform axis, from end to end; 5 if it is not set.
        prune: whether trials end early that are worse than the median of the others at the same epoch.
        startup: trials that end before any is pruned; 4 if it is not set.
        warmup: epochs that every trial may have; 0 if it is not set.

    Raises:
        ComponentError: if a parameter is set that nothing would use, or earlier trials are not of this grid.
    """

    def __init__(
        self,
        *,
        hunt: Hunt,
        points: Annotated[int, AtLeast(2)] | None = None,
        prune: Literal["none", "median"] = "none",
        startup: Annotated[int, AtLeast(1)] | None = None,
        warmup: Annotated[int, AtLeast(0)] | None = None,
    ) -> None:
        super().__init__(hunt, prune, startup, warmup)
        if not any("uniform" in axis.kind for axis in hunt.space.values()):
            refuse_unused("a space without uniform and log_uniform", points=points)
        points = POINTS if points is None else points
        self.axes = {key: _grid(axis, points) for key, axis in hunt.space.items()}
        self.size = math.prod(map(len, self.axes.values()))
        for trial in hunt.trials:
            if trial.number >= self.size or dict(trial.values) != self.values(trial.number):
                raise ComponentError(
                    f"trial {trial.number} of this folder is not of this grid, whose first trials would be left out: "
                    "give the grid a folder of its own with --out, or write the search as it was"
                )

    def values(self, number: int) -> dict[str, Any]:
        """The values of a trial; the last key of the space changes first."""
        found = {}
        for key, values in reversed(self.axes.items()):
            number, at = divmod(number, len(values))
            found[key] = values[at]
        return {key: found[key] for key in self.axes}


class Random(_Searched):
    """Values at random; trial n always has the same ones, however often the search is interrupted.

    Args:
        hunt: the space, and what is searched for.
        seed: of the draws.
        prune: whether trials end early that are worse than the median of the others at the same epoch.
        startup: trials that end before any is pruned; 4 if it is not set.
        warmup: epochs that every trial may have; 0 if it is not set.

    Raises:
        ComponentError: if a parameter is set that nothing would use.
    """

    def __init__(
        self,
        *,
        hunt: Hunt,
        seed: Annotated[int, AtLeast(0)] = 0,
        prune: Literal["none", "median"] = "median",
        startup: Annotated[int, AtLeast(1)] | None = None,
        warmup: Annotated[int, AtLeast(0)] | None = None,
    ) -> None:
        super().__init__(hunt, prune, startup, warmup)
        self.seed = seed

    def values(self, number: int) -> dict[str, Any]:
        """The values of a trial."""
        rng = np.random.default_rng([self.seed, number])
        return {key: _draw(axis, float(rng.random())) for key, axis in self.hunt.space.items()}


def _grid(axis: Axis, points: int) -> Sequence[Any]:
    """The values of an axis, from end to end."""
    if axis.kind == "choice":
        return list(axis.values)
    if axis.kind == "integer":
        return range(int(axis.low), int(axis.high) + 1)
    ends = (axis.low, axis.high)
    values = np.geomspace(*ends, points) if axis.kind == "log_uniform" else np.linspace(*ends, points)
    return list(dict.fromkeys(_rounded(value) for value in values))


def _draw(axis: Axis, share: float) -> Any:
    """The value at a share of the axis, from 0 to below 1."""
    if axis.kind == "choice":
        return axis.values[int(share * len(axis.values))]
    if axis.kind == "integer":
        return int(axis.low) + int(share * (axis.high - axis.low + 1))
    if axis.kind == "log_uniform":
        return min(max(_rounded(axis.low * (axis.high / axis.low) ** share), axis.low), axis.high)
    return min(max(_rounded(axis.low + (axis.high - axis.low) * share), axis.low), axis.high)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
