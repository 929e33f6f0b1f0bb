"""What is to be said of a run's epochs: which one was kept, what the other scores say of it, and the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gisegkit.types import EpochReport, Metric

SHARES = ("dice", "iou", "nsd", "uwmgi_score")
"""Metrics of which 0 is the worst value that there is: nothing of a class was found, or nothing of it is right."""

FEWEST = 4
"""Validated epochs from which a place in their order says something."""


def kept_epoch(
    entries: Sequence[Mapping[str, Any]], monitor: str, metrics: Mapping[str, Metric], classes: Sequence[str]
) -> Iterator[str]:
    """Lines at the end of training, where the epoch that was kept is not what one would think.

    That is: the monitored score was never defined; a score of a class is 0.0000 in the kept epoch; or another metric of
    the recipe puts the kept epoch far down. Far down is behind half of the validated epochs (of 4 or more), or a value
    that is less than half of the best epoch's (more than twice as much, where lower is better).

    Args:
        entries: the lines of ``metrics.jsonl``: epoch, best, and scores by name, None where undefined.
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
        if name in SHARES and empty:
            those = f"class{'es' if len(empty) > 1 else ''} {', '.join(empty)}"
            yield f"warning: in the kept epoch, {number}, {name} of the {those} is 0.0000: nothing of it is found"


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
    """Measures epochs as they come, validation and writing included, to tell how long the others will take."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._epochs = 0

    def left(self, report: EpochReport) -> str:
        """What to add to the line of the epoch that has just ended; empty after the last one."""
        self._epochs += 1
        others = report.epochs - report.epoch
        if others < 1:
            return ""
        return f"  {clock((time.monotonic() - self._start) / self._epochs * others)} left"


def clock(seconds: float) -> str:
    """A duration as a person says it: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
