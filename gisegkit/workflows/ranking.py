"""The ranking of a plan: its settings by score, each compared with the first, and what differs in words.

Cells that differ in nothing but the seed and the fold are one setting. The folds of a seed are put together first. A
case's value is its mean over the seeds; so are the score and what is paired with the first setting. How far the seeds
are apart is said beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gisegkit.engine.bootstrap import FEWEST, CaseSums, Interval, bootstrap_interval, holm
from gisegkit.errors import RunError, count
from gisegkit.registry.kinds import Registries
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import is_ensemble
from gisegkit.runs.pooled import pooled
from gisegkit.runs.scored import (
    Evaluated,
    case_sums,
    check_comparable,
    check_sums,
    combiner,
    common_scans,
    read_run,
    shared_metric,
)
from gisegkit.workflows.compare import (
    NONE_SHOWN,
    RESAMPLES,
    about_run,
    bounds_of,
    paired,
    place_of,
    recipe_differences,
    smallest_adjusted,
    verdict,
    within,
)
from gisegkit.workflows.comparison import Comparison

Combine = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Standing:
    """A setting in the ranking.

    Attributes:
        name: of the setting; runs: its seeds, each with all its folds; planned: how many there are to be.
        cases: whose values are the mean over the seeds.
        interval: the score of these means, with its 95 % interval over cases.
        seeds: the score of each run, in the order of ``runs``.
        comparison: with the first setting; None for the first itself, and if it cannot be compared.
        differences: what differs from the first setting, without the seed.
        unlike: why it cannot be compared; empty if it can.
        folders: the run folders, more than ``runs`` if each fold has one.
    """

    name: str
    runs: tuple[Evaluated, ...]
    planned: int
    cases: int
    interval: Interval
    seeds: tuple[float, ...]
    comparison: Comparison | None = None
    differences: tuple[str, ...] = ()
    unlike: str = ""
    folders: tuple[Evaluated, ...] = ()

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest score of a seed; NaN if none is defined."""
        known = [score for score in self.seeds if not math.isnan(score)]
        return (min(known, default=math.nan), max(known, default=math.nan))


@dataclass(frozen=True)
class Ranking:
    """Settings, the best first.

    Attributes:
        first: the name of the setting that the others are compared with.
        notes: what a reader must know besides the numbers, a sentence each.
    """

    metric: str
    convention: str
    higher: bool
    demo: bool
    first: str
    rows: tuple[Standing, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Measure:
    """By what settings are compared."""

    metric: str
    combine: Combine
    limits: tuple[float, float]
    resamples: int
    seed: int


def rank(
    settings: Mapping[str, Sequence[Path]],
    registries: Registries,
    *,
    planned: Mapping[str, int],
    metric: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ranking:
    """Rank settings by the mean over their seeds.

    Args:
        settings: by name, the folders of the evaluated runs; the first one is what the others are compared with.
        planned: how many seeds each setting is to have.
        metric: default ``uwmgi_score``, else the first that all runs have.
        resamples: of the bootstrap; also the most permutations of the test.
        seed: of both.

    Raises:
        RunError: if there is nothing to rank, a folder holds no evaluated run, or the runs have no metric in common.
    """
    if not settings:
        raise RunError("no run is evaluated, so there is nothing to rank")
    read = {name: tuple(read_run(path, path.name) for path in paths) for name, paths in settings.items()}
    every = [run for runs in read.values() for run in runs]
    name = shared_metric(every, metric)
    measure = _Measure(name, combiner(every[0], name, registries), bounds_of(every[0], name), resamples, seed)
    first, *others = [_row(label, runs, planned[label], measure) for label, runs in read.items()]
    rows = [first, *_adjusted(first, [_against(first, row, measure) for row in others])]
    higher = bool(every[0].content["higher_is_better"].get(name, True))
    order = sorted(rows, key=lambda row: place_of(row.interval, higher=higher))
    return Ranking(
        name,
        every[0].content["conventions"][name],
        higher,
        bool(every[0].content["demo"]),
        first.name,
        tuple(order),
        (*_at_the_top(order, measure), *_notes(rows)),
    )


def mean_over_seeds(
    runs: Sequence[Evaluated], metric: str, combine: Combine, scans: set[str] | None = None
) -> CaseSums:
    """The values of each case, averaged over runs that scored the same cases.

    Args:
        scans: the scans to take; default those that all runs scored with the same slices.
    """
    scans = shared_scans(runs) if scans is None else scans
    each = [case_sums(run, metric, combine, scans) for run in runs]
    sums, counts = (np.mean([getattr(one, what) for one in each], axis=0) for what in ("sums", "counts"))
    return replace(each[0], sums=sums, counts=counts)


def shared_scans(runs: Sequence[Evaluated]) -> set[str]:
    """The scans that all runs scored with the same slices.

    Raises:
        RunError: if they were scored on different data.
    """
    return set.intersection(*(common_scans(runs[0], run) for run in runs))


def _row(name: str, runs: tuple[Evaluated, ...], planned: int, by: _Measure) -> Standing:
    each = [case_sums(run, by.metric, by.combine) for run in runs]
    for run, own in zip(runs, each, strict=True):
        check_sums(run, by.metric, own)
    seeds = pooled(runs, by.metric)
    sums = mean_over_seeds(seeds, by.metric, by.combine)
    interval = bootstrap_interval(sums, resamples=by.resamples, rng=np.random.default_rng(by.seed))
    scores = tuple(case_sums(run, by.metric, by.combine).score() for run in seeds)
    return Standing(name, seeds, planned, sums.cases, within(interval, *by.limits), scores, folders=runs)


def _against(first: Standing, row: Standing, by: _Measure) -> Standing:
    """The row with its comparison; that two settings cannot be compared is said in the row."""
    differing = [item for item in recipe_differences(first.runs[0].recipe, row.runs[0].recipe) if item.key != "seed"]
    whole = is_ensemble(RunDir(row.folders[0].path)) and not is_ensemble(RunDir(first.folders[0].path))
    row = replace(row, differences=(*(["it is an ensemble"] if whole else []), *map(str, differing)))
    try:
        check_comparable(first.runs[0], row.runs[0], by.metric)
        scans = shared_scans([*first.runs, *row.runs])
    except RunError as error:
        return replace(row, unlike=str(error))
    sums = [mean_over_seeds(one.runs, by.metric, by.combine, scans) for one in (first, row)]
    return replace(row, comparison=paired(sums[0], sums[1], by.resamples, by.seed, by.limits))


def _adjusted(first: Standing, rows: Sequence[Standing]) -> list[Standing]:
    """The rows with p adjusted for the number of comparisons, and the verdicts that follow."""
    made = [row.comparison for row in rows if row.comparison is not None]
    ready = iter(zip(holm([item.p for item in made]), smallest_adjusted(made), strict=True))
    found = []
    for row in rows:
        if row.comparison is not None:
            p, least = next(ready)
            item = replace(row.comparison, adjusted=p)
            words = verdict(item, first.name, least=least, comparisons=len(made)) + _of_seeds(first, row)
            row = replace(row, comparison=replace(item, verdict=words))
        found.append(row)
    return found


def _of_seeds(first: Standing, row: Standing) -> str:
    """That the seeds of two settings overlap, where both have several: the intervals know nothing of other seeds."""
    (low, high), (first_low, first_high) = row.spread, first.spread
    if min(len(row.seeds), len(first.seeds)) < 2 or not (low <= first_high and first_low <= high):
        return ""
    return f"; their seeds overlap ({low:.4f} to {high:.4f}, and {first_low:.4f} to {first_high:.4f})"


def _at_the_top(rows: Sequence[Standing], by: _Measure) -> list[str]:
    """That the best two settings cannot be told apart, if so; a table that is sorted seems to say that they can.

    Args:
        rows: the best first.
    """
    best = [row for row in rows if not math.isnan(row.interval.estimate)][:2]
    if len(best) < 2:
        return []
    one, other = best
    made = _against(other, one, by).comparison
    if made is None:
        return []  # they were scored on different data, which is said elsewhere
    (least,) = smallest_adjusted([made])
    words = verdict(made, other.name, least=least, comparisons=1)
    seeds = _of_seeds(other, one)
    if not seeds and not words.startswith(NONE_SHOWN):
        return []
    return [f"The best two, {one.name} and {other.name}, cannot be told apart: {words}{seeds}."]


def _notes(rows: Sequence[Standing]) -> list[str]:
    notes = list(dict.fromkeys(note for row in rows for run in row.folders for note in about_run(run)))
    for row in rows:
        if len(row.runs) < row.planned:
            notes.append(
                f"{row.name} has {len(row.runs)} of its {count(row.planned, 'seed')}; the others are not done."
            )
        scored = {run.slices["scan"].nunique() for run in row.runs}
        if len(row.runs) > 1 and scored != {len(shared_scans(row.runs))}:
            notes.append(f"The seeds of {row.name} scored other scans; only those that all of them scored count.")
        if row.comparison is not None and row.comparison.cases != row.cases:
            notes.append(f"{row.name} is compared on the {count(row.comparison.cases, 'case')} that both scored.")
    if any(row.cases < FEWEST for row in rows):
        notes.append(f"With fewer than {FEWEST} cases there is no interval and no test.")
    tests = sum(row.comparison is not None and not math.isnan(row.comparison.p) for row in rows)
    if tests > 1:
        notes.append(f"p is adjusted for {tests} comparisons (Holm); the intervals are not.")
    if any(len(row.runs) > 1 for row in rows):
        notes.append("A case's value is its mean over the seeds; the test pairs these means.")
    if any(len(row.runs) == 1 for row in rows):
        notes.append("A setting with one seed may be lucky: interval and test are about other cases, not other seeds.")
    return notes
