"""The verb compare: finished runs side by side, and whether a difference to the first is more than luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gisegkit.engine.bootstrap import (
    FEWEST,
    LEVEL,
    CaseSums,
    Interval,
    bootstrap_interval,
    holm,
    paired_test,
    smallest_p,
)
from gisegkit.evaluated import (
    Evaluated,
    case_sums,
    check_comparable,
    check_sums,
    combiner,
    common_volumes,
    number,
    read_run,
    shared_metric,
)
from gisegkit.registry import Registries
from gisegkit.rundir import jsonable

RESAMPLES = 9999


@dataclass(frozen=True)
class Comparison:
    """A run against the first, on the cases that both scored.

    Attributes:
        cases: that both scored; score, first_score: on these.
        difference: the run's score minus the first's.
        p: of the paired test, NaN where there are too few cases; adjusted: for the number of comparisons.
        verdict: in words.
    """

    cases: int
    score: float
    first_score: float
    difference: Interval
    p: float
    adjusted: float
    verdict: str = ""


@dataclass(frozen=True)
class Compared:
    """A run in the table.

    Attributes:
        interval: its score and 95 % interval, on all that it scored.
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
        notes: what a reader must know besides the numbers, a sentence each.
    """

    metric: str
    convention: str
    resamples: int
    rows: tuple[Compared, ...]
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


def compare(
    paths: Sequence[Path],
    registries: Registries,
    *,
    metric: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Table:
    """Compare evaluated runs with the first of them.

    Args:
        paths: run folders.
        registries: where the metric is looked up, to make scores of resampled cases.
        metric: default ``uwmgi_score``, else the first that all runs have.
        resamples: of the bootstrap; also the most permutations of the test.
        seed: of both.

    Raises:
        RunError: if a folder holds no evaluated run, or two runs cannot be compared: another metric convention, other
            classes, other data, or a demo and none.
    """
    labels = [path.resolve().name for path in paths]
    runs = [
        read_run(path, label if labels.count(label) == 1 else str(path))
        for path, label in zip(paths, labels, strict=True)
    ]
    name = shared_metric(runs, metric)
    combine = combiner(runs[0], name, registries)
    for run in runs[1:]:
        check_comparable(runs[0], run, name)
    rows = [_row(run, name, case_sums(run, name, combine), resamples, seed) for run in runs]
    comparisons, notes = [], [note for run in runs for note in _about(run)]
    for run in runs[1:]:
        volumes = common_volumes(runs[0], run)
        notes += _about_pair(runs[0], run, volumes)
        first, second = (case_sums(item, name, combine, volumes) for item in (runs[0], run))
        comparisons.append(_compare(first, second, resamples, seed))
    adjusted = holm([item.p for item in comparisons])
    for index, (item, p) in enumerate(zip(comparisons, adjusted, strict=True), start=1):
        item = replace(item, adjusted=p)
        rows[index] = replace(rows[index], comparison=replace(item, verdict=verdict(item, runs[0].label)))
    notes += _about_all(rows)
    return Table(name, runs[0].content["conventions"][name], resamples, tuple(rows), tuple(notes))


def _row(run: Evaluated, metric: str, sums: CaseSums, resamples: int, seed: int) -> Compared:
    check_sums(run, metric, sums)
    scores, parts = run.content["scores"], run.content["parts"][metric]
    interval = bootstrap_interval(sums, resamples=resamples, rng=np.random.default_rng(seed))
    return Compared(
        run,
        sums.cases,
        interval,
        {part: number(scores[f"{metric}/{part}"]) for part in parts if len(parts) > 1},
        {label: number(scores[f"{metric}/{label}"]) for label in run.classes},
    )


def _compare(first: CaseSums, second: CaseSums, resamples: int, seed: int) -> Comparison:
    if not first.cases:
        return Comparison(0, math.nan, math.nan, Interval(math.nan, math.nan, math.nan), math.nan, math.nan)
    difference = bootstrap_interval(second, first, resamples=resamples, rng=np.random.default_rng(seed))
    p = paired_test(first, second, resamples=resamples, rng=np.random.default_rng(seed))
    return Comparison(first.cases, second.score(), first.score(), difference, p, p)


def verdict(item: Comparison, first: str) -> str:
    """The comparison in words; a difference counts as shown where interval and adjusted p agree on it."""
    if not item.cases:
        return "no difference shown: the two runs scored no case in common"
    if item.cases < FEWEST:
        return (
            f"no difference shown: {_count(item.cases, 'case')} can show none (the smallest possible p is "
            f"{smallest_p(item.cases):.2g}; {FEWEST} cases are needed)"
        )
    low, high = item.difference.low, item.difference.high
    if math.isnan(low):
        return "no difference shown: too few of the cases have a value"
    shown = item.adjusted < 1 - LEVEL and (low > 0 or high < 0)
    words = ("higher than" if low > 0 else "lower than") + f" {first}" if shown else "no difference shown"
    return f"{words} (95 % interval {low:+.4f} to {high:+.4f}, p = {item.adjusted:.2g})"


def _about(run: Evaluated) -> list[str]:
    notes = []
    if run.seen:
        notes.append(f"{run.label} was scored on {run.seen} slices that it also trained on, so its score is too good.")
    if run.content["part"] != "validation":
        notes.append(f"{run.label} was scored on {run.content['part']} slices, not on its validation slices.")
    return notes


def _about_pair(first: Evaluated, other: Evaluated, volumes: set[str]) -> list[str]:
    notes = []
    scored = [run.slices["volume"].nunique() for run in (first, other)]
    if scored != [len(volumes)] * 2:
        notes.append(
            f"{other.label} is compared with {first.label} on the {_count(len(volumes), 'scan')} that both scored with "
            f"the same slices ({first.label} scored {scored[0]}, {other.label} {scored[1]}); give both recipes the "
            "same [split] to compare them on all."
        )
    if _differences(first.recipe, other.recipe) <= {"seed"}:
        notes.append(
            f"The recipes of {first.label} and {other.label} differ in nothing but the seed: a difference between them "
            "is the luck of training."
        )
    return notes


def _differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    """Top-level keys in which two recipes differ, but for their names."""
    return {key for key in {**first, **other} if first.get(key) != other.get(key)} - {"name"}


def _about_all(rows: Sequence[Compared]) -> list[str]:
    notes = []
    if any(row.cases < FEWEST for row in rows):
        notes.append(
            f"With fewer than {FEWEST} cases there is no interval and no test: so few cannot show a difference."
        )
    tests = sum(row.comparison is not None and not math.isnan(row.comparison.p) for row in rows)
    if tests > 1:
        notes.append(f"p is adjusted for {tests} comparisons (Holm); the intervals are not.")
    if len({row.run.device for row in rows}) > 1:
        notes.append("The runs trained on different devices; times and memory cannot be compared.")
    if len(rows) > 1:
        notes.append(
            "Intervals and test are about other cases, not about other seeds: to say that a recipe is better, compare "
            "several seeds of it."
        )
    return notes


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
