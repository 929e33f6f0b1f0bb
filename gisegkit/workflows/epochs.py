"""What is to be said of a run's epochs: which one was kept, what the other scores say of it, and the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gisegkit.types import EpochReport, Metric

FEWEST = 4
"""Validated epochs from which a place in their order says something."""


def kept_epoch(
    entries: Sequence[Mapping[str, Any]], monitor: str, metrics: Mapping[str, Metric], classes: Sequence[str]
) -> Iterator[str]:
    """Lines at the end of training, where the epoch that was kept is not what one would think.

    That is: the monitored score was never defined; a score of a class is 0.0000 in the kept epoch; or another metric of
    the recipe puts the kept epoch far down. Far down is after half of the validated epochs (of 4 or more), or a value
    that is less than half of the best epoch's (more than twice as much, where lower is better).

    Args:
        entries: the lines of ``metrics.jsonl``: epoch, best, and scores by name, None if undefined.
        monitor: the score that chose the epoch.
        metrics: the recipe's, by name.
        classes: of the data.
    """
    validated = [entry for entry in entries if entry.get("scores")]
    best = [entry for entry in validated if entry.get("best")]
    if not best:
        return
    kept = best[-1]
    number, scores = kept["epoch"], kept["scores"]
    if not _defined(scores.get(monitor)):
        yield (
            f"warning: {monitor} was undefined in every validated epoch, so that it chose none; the weights kept are "
            f"those of epoch {number}"
        )
    for name in metrics:
        if name != monitor:
            yield from _far_down(validated, kept, name, monitor, higher=metrics[name].higher_is_better)
    for name in metrics:
        empty = [label for label in classes if _defined(value := scores.get(f"{name}/{label}")) and value < 0.00005]
        if empty and _worst_is_0(metrics[name]):
            those, it = ("classes", "them") if len(empty) > 1 else ("class", "it")
            of = f"{name} of the {those} {', '.join(empty)}"
            yield f"warning: in the kept epoch, {number}, {of} is 0.0000: nothing of {it} is found"


def _worst_is_0(metric: Metric) -> bool:
    """Whether nothing can be worse than 0: nothing of a class was found, or nothing of it is right."""
    bounds = getattr(metric, "bounds", None)
    return bool(metric.higher_is_better and bounds and bounds[0] == 0)


def kept_without_average(entries: Sequence[Mapping[str, Any]], *, first: int) -> Iterator[str]:
    """A line if the run was to deploy a mean of weights, and keeps those of an epoch before the first in the mean.

    Args:
        first: that epoch, 0 if there is no such mean.
    """
    best = [entry["epoch"] for entry in entries if entry.get("best")]
    if best and best[-1] < first:
        stopped = entries[-1]["epoch"] < first
        why = "and training stopped before it" if stopped else "and none from there on scored better"
        yield (
            f'warning: train.average = "swa", but the weights kept are those of epoch {best[-1]} alone: epoch {first} '
            f"is the first in the mean, {why}"
        )


def _defined(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _far_down(
    validated: Sequence[Mapping[str, Any]], kept: Mapping[str, Any], name: str, monitor: str, *, higher: bool
) -> Iterator[str]:
    """A line where a metric puts the kept epoch far down among the validated ones."""
    values = {entry["epoch"]: entry["scores"].get(name) for entry in validated}
    values = {epoch: value for epoch, value in values.items() if _defined(value)}
    number = kept["epoch"]
    if not values:
        return
    first = (max if higher else min)(values, key=lambda epoch: values[epoch])
    top = values[first]
    if number not in values:
        yield (
            f"warning: best epoch {number} of {len(validated)} by {monitor}; {name} is undefined there, and best in "
            f"epoch {first} ({top:.4f})"
        )
        return
    own = values[number]
    ahead = sum(value > own if higher else value < own for value in values.values())
    far = own < top / 2 if higher else own > top * 2
    behind = len(values) >= FEWEST and ahead >= len(values) / 2
    if ahead and (behind or (top > 0 and own >= 0 and far)):
        said = kept["scores"].get(monitor)
        score = f" ({said:.4f})" if _defined(said) else ""
        yield (
            f"warning: best epoch {number} of {len(validated)} by {monitor}{score}; by {name} it is epoch {first} "
            f"({top:.4f}), and epoch {number} ({own:.4f}) is number {ahead + 1} of {len(values)}"
        )


class Watch:
    """Measures epochs as they come, to estimate how long the rest of the run will take.

    The first epoch includes warming up, so it counts only until there is another. A slice is taken to cost as much in
    evaluation and in prediction as it did in validation, and before the first validation as much as in training.

    Args:
        epochs: of the training.
        slices: that each validation scores.
        validate_every: epochs between validations; the last epoch is always validated.
        later: slices that the same command evaluates and predicts after the training.
        may_stop: whether the training may stop early, so that the estimate is the most that it takes.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        *,
        epochs: int,
        slices: int,
        validate_every: int = 1,
        later: int = 0,
        may_stop: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._epochs, self._every, self._slices, self._later = epochs, validate_every, slices, later
        self._may_stop, self._now = may_stop, now
        self._last = now()
        self._trained: list[float] = []
        self._kept: list[float] = []
        self._validated: list[float] = []

    def left(self, report: EpochReport) -> str:
        """What to add to the line of the epoch that has just ended; empty if nothing is left to do."""
        now = self._now()
        other = max(0.0, now - self._last - report.seconds)
        self._last = now
        self._trained.append(report.seconds)
        (self._validated if report.scores else self._kept).append(other)
        ahead = range(report.epoch + 1, self._epochs + 1)
        if not ahead and not self._later:
            return ""
        validations = sum(epoch % self._every == 0 or epoch == self._epochs for epoch in ahead)
        seconds = len(ahead) * _steady(self._trained) + (len(ahead) - validations) * _steady(self._kept)
        validation = _steady(self._validated) if self._validated else self._slices / report.images_per_second
        seconds += validation * (validations + self._later / self._slices)
        most = "at most " if self._may_stop and ahead else ""
        what = " for the whole run" if self._later else ""
        guess = "" if self._validated else " (validation not timed yet)"
        return f"  {most}about {clock(seconds)} left{what}{guess}"


def _steady(seconds: Sequence[float]) -> float:
    """The mean without the first, which includes warming up, if there are others."""
    counted = seconds[1:] or seconds
    return sum(counted) / len(counted) if counted else 0.0


def clock(seconds: float) -> str:
    """A duration as a person says it: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
