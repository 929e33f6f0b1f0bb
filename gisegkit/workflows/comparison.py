"""Runs side by side as numbers: each with its interval, and its difference to the first with a test and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gisegkit.engine.bootstrap import FEWEST, LEVEL, Interval
from gisegkit.runs.files import jsonable
from gisegkit.runs.scored import Evaluated


@dataclass(frozen=True)
class Comparison:
    """A run against the first, on the cases that both scored.

    Attributes:
        cases: that both scored; score, first_score: on these.
        difference: the run's score minus the first's.
        p: of the paired test, NaN if there are too few cases; adjusted: for the number of comparisons.
        differences: what differs in the two recipes that were used, key by key.
        verdict: in words.
    """

    cases: int
    score: float
    first_score: float
    difference: Interval
    p: float
    adjusted: float
    differences: tuple[str, ...] = ()
    verdict: str = ""


@dataclass(frozen=True)
class Compared:
    """A run in the table.

    Attributes:
        interval: its score and 95 % interval, on all that it scored; cut at the bounds that the metric has.
        parts: means of the metric's parts; by_class: its score for each class.
        comparison: None for the first run.
    """

    run: Evaluated
    cases: int
    interval: Interval
    parts: Mapping[str, float]
    by_class: Mapping[str, float]
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Table:
    """Runs compared.

    Attributes:
        rows: the best score first.
        higher_is_better: by metric and part (``uwmgi_score/hausdorff``), as far as it is known.
        notes: what a reader must know besides the numbers, a sentence each.
    """

    metric: str
    convention: str
    resamples: int
    rows: tuple[Compared, ...]
    higher_is_better: Mapping[str, bool]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; undefined numbers are None."""
        content: dict[str, Any] = jsonable(
            {
                "metric": self.metric,
                "convention": self.convention,
                "level": LEVEL,
                "resamples": self.resamples,
                "fewest_cases": FEWEST,
                "higher_is_better": self.higher_is_better,
                "runs": [_as_dict(row) for row in self.rows],
                "notes": self.notes,
            }
        )
        return content


def _as_dict(row: Compared) -> dict[str, Any]:
    other, content = row.comparison, row.run.content
    return {
        "run": row.run.path,
        "name": content["name"],
        "demo": content["demo"],
        "part": content["part"],
        "cases": row.cases,
        "slices": content["slices"],
        "expected_slices": content["expected"],
        "slices_trained_on": row.run.seen,
        "changes": content.get("changes", []),
        "score": row.interval.estimate,
        "low": row.interval.low,
        "high": row.interval.high,
        "parts": row.parts,
        "classes": row.by_class,
        "parameters": content["parameters"],
        "trainable_parameters": content["trainable_parameters"],
        "seconds": math.nan if row.run.seconds is None else row.run.seconds,
        "peak_memory": row.run.peak_memory,
        "device": row.run.device,
        "comparison": None
        if other is None
        else {
            "differences": other.differences,
            "cases": other.cases,
            "score": other.score,
            "first_score": other.first_score,
            "difference": other.difference.estimate,
            "low": other.difference.low,
            "high": other.difference.high,
            "p": other.p,
            "p_adjusted": other.adjusted,
            "verdict": other.verdict,
        },
    }
