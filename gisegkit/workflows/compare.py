"""The verb compare: finished runs side by side, and whether a difference to the first is more than luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from gisegkit.errors import count
from gisegkit.recipe.differences import Difference, differences
from gisegkit.registry.annotations import show
from gisegkit.registry.kinds import Registries
from gisegkit.runs.folder import ENSEMBLE
from gisegkit.runs.outputs import NEUTRAL
from gisegkit.runs.parts import OUT_OF_FOLD, VALIDATION
from gisegkit.runs.scored import (
    Evaluated,
    case_sums,
    check_comparable,
    check_sums,
    combiner,
    common_scans,
    number,
    read_run,
    scored_before,
    shared_metric,
)
from gisegkit.workflows.comparison import Compared, Comparison, Table

RESAMPLES = 9999
NONE_SHOWN = "no difference shown"
SHOWN = 12
"""Differences of two recipes that a note spells out; --json has all."""


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
    labels = [_label(path) for path in paths]
    runs = [
        read_run(path, label if labels.count(label) == 1 else str(path))
        for path, label in zip(paths, labels, strict=True)
    ]
    name = shared_metric(runs, metric)
    combine = combiner(runs[0], name, registries)
    bounds = bounds_of(runs[0], name)
    for run in runs[1:]:
        check_comparable(runs[0], run, name)
    rows = [_row(run, name, case_sums(run, name, combine), resamples, seed, bounds) for run in runs]
    comparisons, notes = [], [note for run in runs for note in about_run(run)]
    for run in runs[1:]:
        scans = common_scans(runs[0], run)
        differing = recipe_differences(runs[0].recipe, run.recipe)
        notes += _about_pair(runs[0], run, scans, differing)
        first, second = (case_sums(item, name, combine, scans) for item in (runs[0], run))
        found = paired(first, second, resamples, seed, bounds)
        comparisons.append(replace(found, differences=tuple(map(str, differing))))
    adjusted = holm([item.p for item in comparisons])
    smallest = smallest_adjusted(comparisons)
    for index, (item, p, least) in enumerate(zip(comparisons, adjusted, smallest, strict=True), start=1):
        item = replace(item, adjusted=p)
        words = verdict(item, runs[0].label, least=least, comparisons=len(comparisons))
        rows[index] = replace(rows[index], comparison=replace(item, verdict=words))
    notes += _about_all(rows)
    directions = {key: value for key, value in runs[0].content["higher_is_better"].items() if _of(key, name)}
    order = sorted(rows, key=lambda row: place_of(row.interval, higher=directions.get(name, True)))
    return Table(name, runs[0].content["conventions"][name], resamples, tuple(order), directions, tuple(notes))


def _label(path: Path) -> str:
    """The folder's name; of an evaluation inside a run folder also the run's."""
    full = path.resolve().parent if path.name == ENSEMBLE else path.resolve()
    inside = (full / "scores.json").is_file() and (full.parent / "recipe.toml").is_file()
    return f"{full.parent.name}/{full.name}" if inside else full.name


def _of(key: str, metric: str) -> bool:
    return key.partition("/")[0] == metric


def bounds_of(run: Evaluated, metric: str) -> tuple[float, float]:
    """The lowest and the highest score that the metric can give; infinite where it does not say."""
    low, high = run.content.get("bounds", {}).get(metric) or (None, None)
    return (-math.inf if low is None else low, math.inf if high is None else high)


def place_of(interval: Interval, *, higher: bool) -> tuple[bool, float]:
    """Sorts the best score first, and undefined ones last."""
    score = interval.estimate
    return math.isnan(score), -score if higher else score


def _row(
    run: Evaluated, metric: str, sums: CaseSums, resamples: int, seed: int, bounds: tuple[float, float]
) -> Compared:
    check_sums(run, metric, sums)
    scores, parts = run.content["scores"], run.content["parts"][metric]
    interval = bootstrap_interval(sums, resamples=resamples, rng=np.random.default_rng(seed))
    return Compared(
        run,
        sums.cases,
        within(interval, *bounds),
        {part: number(scores[f"{metric}/{part}"]) for part in parts if len(parts) > 1},
        {label: number(scores[f"{metric}/{label}"]) for label in run.classes},
    )


def within(interval: Interval, low: float, high: float) -> Interval:
    """The interval without what is beyond the bounds: no score is there, so it covers no less."""
    return Interval(interval.estimate, *(min(max(end, low), high) for end in (interval.low, interval.high)))


def paired(first: CaseSums, second: CaseSums, resamples: int, seed: int, bounds: tuple[float, float]) -> Comparison:
    """The second against the first, case by case: the difference with its interval, and the p of the paired test."""
    if not first.cases:
        return Comparison(0, math.nan, math.nan, Interval(math.nan, math.nan, math.nan), math.nan, math.nan)
    difference = bootstrap_interval(second, first, resamples=resamples, rng=np.random.default_rng(seed))
    widest = bounds[1] - bounds[0]
    p = paired_test(first, second, resamples=resamples, rng=np.random.default_rng(seed))
    return Comparison(first.cases, second.score(), first.score(), within(difference, -widest, widest), p, p)


def smallest_adjusted(items: Sequence[Comparison]) -> list[float]:
    """The smallest p that each comparison could have had, however different the runs: with so many cases and tests."""
    return holm([math.nan if math.isnan(item.p) else smallest_p(item.cases) for item in items])


def verdict(item: Comparison, first: str, *, least: float, comparisons: int) -> str:
    """The comparison in words; a difference counts as shown where interval and adjusted p agree on it.

    Args:
        least: the smallest adjusted p that was possible.
    """
    if not item.cases:
        return f"{NONE_SHOWN}: the two runs scored no case in common"
    if item.cases < FEWEST:
        return (
            f"{NONE_SHOWN}: {count(item.cases, 'case')} can show none (the smallest possible p is "
            f"{smallest_p(item.cases):.2g}; {FEWEST} cases are needed)"
        )
    low, high = item.difference.low, item.difference.high
    if math.isnan(item.difference.estimate):
        return f"{NONE_SHOWN}: too few of the cases have a value"
    if math.isnan(low):  # too many resamples hold only cases without a value, or with the same value in both runs
        return f"{NONE_SHOWN}: in too few of the {item.cases} cases the runs differ and have a value"
    found = f"95 % interval {low:+.4f} to {high:+.4f}, p = {item.adjusted:.2g}"
    if least >= 1 - LEVEL:
        return (
            f"{NONE_SHOWN}: {count(item.cases, 'case')} and {comparisons} comparisons can show none, however "
            f"different the runs are (the smallest possible p is {least:.2g}; compare fewer runs, or "
            f"{_cases_needed(comparisons)} cases) ({found})"
        )
    shown = item.adjusted < 1 - LEVEL and (low > 0 or high < 0)
    words = ("higher than" if low > 0 else "lower than") + f" {first}" if shown else NONE_SHOWN
    return f"{words} ({found})"


def _cases_needed(comparisons: int) -> int:
    """The fewest cases with which one of so many comparisons can show a difference."""
    cases = FEWEST
    while comparisons * smallest_p(cases) >= 1 - LEVEL:
        cases += 1
    return cases


def about_run(run: Evaluated) -> list[str]:
    """What a reader must know of a run's score besides the number."""
    notes = []
    if run.seen:
        notes.append(f"{run.label} was scored on {run.seen} slices that it also trained on, so its score is too good.")
    part, slices, expected = (run.content[key] for key in ("part", "slices", "expected"))
    if part not in (*VALIDATION, OUT_OF_FOLD):
        notes.append(f"{run.label} was scored on {part} slices, not on its validation slices.")
    elif slices < expected:
        notes.append(f"{run.label} was scored on only {slices} of its {expected} {part} slices.")
    trained, planned = run.content["training"].get("epochs", 0), run.recipe.get("train", {}).get("epochs", 0)
    if 0 < trained < planned:
        notes.append(
            f"{run.label} was evaluated after {trained} of at most {planned} epochs; if it has trained on since, "
            f"evaluate it again: giseg evaluate {run.path}."
        )
    if run.content.get("changes"):
        notes.append(
            f"{run.label} was evaluated with other settings than it was trained with: "
            f"{'; '.join(run.content['changes'])}."
        )
    if run.decides_otherwise:
        notes.append(f"{run.label} {scored_before(run.path, run.decides_otherwise)}.")
    return notes


def _networks(run: Evaluated) -> list[str]:
    """The digests of the networks that predicted."""
    return [str(network["weights"]) for network in run.content.get("networks", [])]


def _gates(run: Evaluated) -> str:
    """Which gate an ensemble has, in words that are the same only for the same gate."""
    gate = run.content.get("gate")
    if gate is None:
        return "no gate"
    return f"the gate {Path(gate['run']).name} (weights {gate['weights']}) with pixels {show(gate['pixels'])}"


def _about_pair(first: Evaluated, other: Evaluated, scans: set[str], differing: Sequence[Difference]) -> list[str]:
    notes = []
    scored = [run.slices["scan"].nunique() for run in (first, other)]
    if scored != [len(scans)] * 2:
        notes.append(
            f"{other.label} is compared with {first.label} on the {count(len(scans), 'scan')} that both scored with "
            f"the same slices ({first.label} scored {scored[0]}, {other.label} {scored[1]}); give both recipes the "
            "same [split] to compare them on all."
        )
    same_weights = bool(first.content.get("weights")) and first.content["weights"] == other.content.get("weights")
    pair = f"{first.label} and {other.label}"
    if _gates(first) != _gates(other):
        notes.append(", ".join(f"{run.label} has {_gates(run)}" for run in (first, other)) + ".")
    if differing:
        weights = " (the same weights)" if same_weights else ""
        notes.append(f"What differs from {first.label} to {other.label}{weights}: {_listed(differing)}.")
    if same_weights and not differing:
        notes.append(f"{pair} are the same weights, evaluated with the same settings.")
    elif not differing and _networks(first) != _networks(other):
        notes.append(f"{pair} have the same recipe and predict with other networks.")
    elif not differing and _gates(first) == _gates(other):
        notes.append(
            f"The recipes of {pair} do not differ, not even in the seed: a difference between them comes from their "
            "data, machines or versions."
        )
    elif {item.key for item in differing} == {"seed"}:
        notes.append(
            f"The recipes of {pair} differ in nothing but the seed: a difference between them is the luck of training."
        )
    return notes


def _listed(differing: Sequence[Difference]) -> str:
    rest = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return "; ".join(map(str, differing[:SHOWN])) + rest


def recipe_differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """What differs in two filled recipes, but for names and for what changes no result."""
    found = differences(first, other, without=(*NEUTRAL, *("name", "requires")))
    return [item for item in found if not item.key.startswith("tracker")]


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
