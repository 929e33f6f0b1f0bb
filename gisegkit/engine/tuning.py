"""Searches a decision on probabilities that are kept: thresholds, presence, islands, holes, continuity, class by class.

The search is nested. The cases of each fold are decided as those of the other folds say, so that the gain is measured
on cases which had no part in the choice. The decision that is proposed is chosen on all cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from gisegkit.engine.bootstrap import CaseSums, Interval, bootstrap_interval
from gisegkit.engine.decision import Decision
from gisegkit.engine.scoring import Scoreboard
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import DataError
from gisegkit.types import BoolArray, FloatArray, MaskArray, Progress, silent

Settings = tuple[float, ...]
"""The values of one class, one for each knob."""

State = tuple[Settings, ...]
"""The settings of each of K classes: all that is searched of a decision."""

LEAST_GAIN = 1e-9
"""Of a score; what is not better by more leaves a value as it is."""

ROUNDS = 2
"""Times that every number is searched, since what is best for one depends on the others, such as threshold and area."""

EVERY = ""
"""Stands for all folds together."""


class KeptScan(NamedTuple):
    """A scan with the probabilities of a model that has not seen its case.

    Attributes:
        fold: of the case; any name.
        ids: of its D slices.
        probabilities: ``[D, H, W, K]`` float32 at native size.
        truth: ``[D, H, W, K]`` uint8: 0, 1, or IGNORE.
        spacing: mm by column of ``SPACING``.
    """

    name: str
    case: str
    fold: str
    ids: Sequence[str]
    probabilities: FloatArray
    truth: MaskArray
    spacing: Mapping[str, float]


Scans = Callable[[], Iterable[KeptScan]]
"""Reads the scans anew, one after another, always in the same order."""


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        state: chosen on all cases.
        by_fold: of each fold, what the cases of the other folds chose.
        before, after: every case as the given decision decides it, and as the other folds' choice does.
        gain: of the score, with its 95 % interval over cases.
        optimistic: the gain of ``state`` on the cases that it was chosen on: too high by what was fitted to them.
        higher: whether a higher score is better.
    """

    state: State
    by_fold: Mapping[str, State]
    before: CaseSums
    after: CaseSums
    gain: Interval
    optimistic: float
    higher: bool

    @property
    def shown(self) -> bool:
        """Whether the gain's interval holds nothing but gains."""
        return self.gain.low > 0 if self.higher else self.gain.high < 0


@dataclass(frozen=True)
class _Column:
    """What a class's settings give: of each part sums and counts by case, ``[P, N]``."""

    sums: FloatArray
    counts: FloatArray


class DecisionSearch:
    """Searches the state of a decision that scores best.

    Classes are searched one by one: what the settings of a class give is taken not to depend on those of the others.
    Where it does, with exclusive classes, the search may miss the best, but what it finds is scored as it is.

    Args:
        scans: the probabilities; they are read once for each number and round, and at the beginning and the end.
        decide: makes the decision of a state.
        board: scores with one metric.
        values: what is tried for each number, in the order of the search.
        names: what progress calls these numbers.
        threads: so many scans are decided at once, while the next ones are read; 0 decides right here.
    """

    def __init__(
        self,
        scans: Scans,
        decide: Callable[[State], Decision],
        board: Scoreboard,
        values: Sequence[Sequence[float]],
        *,
        names: Sequence[str] = (),
        threads: int = 0,
        progress: Progress = silent,
    ) -> None:
        self._scans, self._decide, self._board, self._progress = scans, decide, board, progress
        self._values = [tuple(grid) for grid in values]
        self._threads = threads
        self._names = list(names) or [str(number) for number in range(1, len(values) + 1)]
        (self._metric,) = board.metrics
        self._higher = board.metrics[self._metric].higher_is_better
        self._parts: tuple[str, ...] = ()
        self._fold_of: dict[str, str] = {}  # by case
        self._scan_count = 0
        self._columns: dict[tuple[int, Settings], _Column] = {}

    def run(self, start: State, *, resamples: int, rng: Generator) -> Tuned:
        """Search from a state.

        Raises:
            DataError: if there are fewer than two folds, so that nothing can be chosen on other folds.
        """
        self._measure([start], label="score as it is")
        folds = sorted(set(self._fold_of.values()))
        if len(folds) < 2:
            raise DataError("a decision is chosen on other folds than it is scored on, and there is one fold only")
        chosen = dict.fromkeys([EVERY, *folds], start)
        for _ in range(ROUNDS):
            before = chosen
            for knob, grid in enumerate(self._values):
                tried = [_with(state, knob, value) for state in chosen.values() for value in grid]
                self._measure(self._missing(tried), label=f"try {self._names[knob]}")
                chosen = {fold: self._best(state, fold, knob, grid) for fold, state in chosen.items()}
            if chosen == before:
                break
        return self._scored(start, chosen, resamples, rng)

    def _scored(self, start: State, chosen: Mapping[str, State], resamples: int, rng: Generator) -> Tuned:
        """Score what was chosen as a whole, since classes may touch one another."""
        by_fold = {fold: state for fold, state in chosen.items() if fold != EVERY}
        names = list(dict.fromkeys([start, *chosen.values()]))
        totals = self._totals(names, label="score what was chosen")
        cases = list(self._fold_of)
        nested = [totals[by_fold[fold]] for fold in self._fold_of.values()]
        before, best = totals[start], totals[chosen[EVERY]]
        after = replace_cases(before, nested, cases)
        gain = bootstrap_interval(after, before, resamples=resamples, rng=rng)
        return Tuned(chosen[EVERY], by_fold, before, after, gain, best.score() - before.score(), self._higher)

    def _best(self, state: State, fold: str, knob: int, grid: Sequence[float]) -> State:
        """The state with the values of a knob that score best on the cases outside a fold, class by class."""
        inside = np.array([own != fold for own in self._fold_of.values()])
        for k in range(len(state)):
            others = [self._of(other, state[other], inside) for other in range(len(state)) if other != k]
            candidates = [state[k], *(changed(state[k], knob, value) for value in grid)]
            scores = [self._score([*others, self._of(k, settings, inside)]) for settings in candidates]
            best, found = 0, scores[0]
            for number, score in enumerate(scores):
                if score > found + LEAST_GAIN or (math.isnan(found) and not math.isnan(score)):
                    best, found = number, score
            state = (*state[:k], candidates[best], *state[k + 1 :])
        return state

    def _of(self, k: int, settings: Settings, inside: BoolArray) -> tuple[FloatArray, FloatArray]:
        column = self._columns[k, settings]
        return column.sums[:, inside].sum(axis=1), column.counts[:, inside].sum(axis=1)

    def _score(self, columns: Sequence[tuple[FloatArray, FloatArray]]) -> float:
        """The score of classes together; negative if lower is better."""
        sums, counts = (np.sum(values, axis=0) for values in zip(*columns, strict=True))
        means = dict(zip(self._parts, (sums / np.where(counts > 0, counts, math.nan)).tolist(), strict=True))
        score = float(self._board.metrics[self._metric].combine(means))
        return score if self._higher else -score

    def _missing(self, states: Sequence[State]) -> list[State]:
        """As few states as possible that hold every setting of a class which is not measured yet."""
        new: list[list[Settings]] = [
            list(dict.fromkeys(item for item in column if (k, item) not in self._columns))
            for k, column in enumerate(zip(*states, strict=True))
        ]
        depth = max(map(len, new))
        return [
            tuple(items[at] if at < len(items) else states[0][k] for k, items in enumerate(new)) for at in range(depth)
        ]

    def _measure(self, states: Sequence[State], *, label: str) -> None:
        """Keep what each class's settings give."""
        if not states:
            return
        for state, (sums, counts) in zip(states, self._counted(states, label), strict=True):
            for k, settings in enumerate(state):
                self._columns[k, settings] = _Column(sums[..., k], counts[..., k])

    def _totals(self, states: Sequence[State], *, label: str) -> dict[State, CaseSums]:
        """The score of states as a whole, case by case."""
        combine = self._board.metrics[self._metric].combine
        return {
            state: CaseSums(self._parts, sums.sum(axis=-1), counts.sum(axis=-1), combine)
            for state, (sums, counts) in zip(states, self._counted(states, label), strict=True)
        }

    def _counted(self, states: Sequence[State], label: str) -> list[tuple[FloatArray, FloatArray]]:
        """Of each state, sums and counts of the defined values, ``[P, N, K]``; reads every scan once."""
        decisions = [self._decide(state) for state in states]
        found: list[dict[str, list[FloatArray]]] = [{} for _ in states]
        folds: dict[str, str] = {}
        number = 0

        def counted(scan: KeptScan) -> tuple[str, str, list[list[FloatArray]]]:
            return scan.case, scan.fold, [self._values_of(scan, decision) for decision in decisions]

        scans = iter(self._progress(self._scans(), label, self._scan_count))
        with closing(threaded_map(counted, scans, threads=self._threads, ahead=self._threads)) as measured:
            for case, fold, values in measured:
                number += 1
                if folds.setdefault(case, fold) != fold:
                    raise DataError(f"case {case} is in fold {folds[case]} and in fold {fold}")
                for by_case, own in zip(found, values, strict=True):
                    before = by_case.get(case)
                    by_case[case] = own if before is None else [a + b for a, b in zip(before, own, strict=True)]
        self._fold_of, self._scan_count = folds, number
        return [
            (
                np.stack([sums for sums, _ in by_case.values()], 1),
                np.stack([counts for _, counts in by_case.values()], 1),
            )
            for by_case in found
        ]

    def _values_of(self, scan: KeptScan, decision: Decision) -> list[FloatArray]:
        """Sums and counts ``[P, K]`` of the defined values of a decided scan."""
        masks = decision(scan.probabilities)
        measured = self._board.measure(scan.name, scan.ids, masks, scan.truth, case=scan.case, spacing=scan.spacing)
        parts = measured.values[self._metric]
        self._parts = tuple(parts)
        rows = [np.atleast_2d(values) for values in parts.values()]  # [D, K] or [1, K]
        return [
            np.stack([np.nansum(row, axis=0) for row in rows]),
            np.stack([(~np.isnan(row)).sum(axis=0).astype(np.float64) for row in rows]),
        ]


def replace_cases(before: CaseSums, after: Sequence[CaseSums], cases: Sequence[str]) -> CaseSums:
    """The sums of each case taken from another decision's: case n of ``after[n]``."""
    sums = np.stack([after[n].sums[:, n] for n in range(len(cases))], axis=1)
    counts = np.stack([after[n].counts[:, n] for n in range(len(cases))], axis=1)
    return CaseSums(before.parts, sums, counts, before.combine)


def changed(settings: Settings, knob: int, value: float) -> Settings:
    """The settings of a class with another value of one knob."""
    return (*settings[:knob], value, *settings[knob + 1 :])


def _with(state: State, knob: int, value: float) -> State:
    return tuple(changed(settings, knob, value) for settings in state)
