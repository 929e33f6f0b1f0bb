"""The contract of searches; gisegkit makes this check of its own only, as a plugin's may keep files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gisegkit.testing.expect import call, expect
from gisegkit.types import Axis, Course, Hunt, Trial

SPACE = {
    "optimizer.lr": Axis("log_uniform", 1e-4, 1e-1),
    "loss.0.weight": Axis("uniform", 0.25, 1.0),
    "input.slices": Axis("integer", 1, 3),
    "augmentation.name": Axis("choice", values=("none", "baseline")),
}
"""Of every kind of axis one."""


def check_search(build: Callable[..., Any], folder: Path, *, trials: int = 8) -> None:
    """A search gives values of the space, each trial once, also if it is killed in between; it does not prune the best.

    Args:
        build: called as ``build(hunt=...)``.
        folder: an empty one, or one that is not there yet.
        trials: that are asked for; a search that has fewer ends earlier.

    Raises:
        ContractError: if it lacks a member, gives a trial twice or values outside the space, or anything raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for maximize in (True, False):
        _check(build, folder / ("maximize" if maximize else "minimize"), maximize=maximize, trials=trials)


def _check(build: Callable[..., Any], folder: Path, *, maximize: bool, trials: int) -> None:
    folder.mkdir(exist_ok=True)
    known: list[Trial] = []
    search = call("hunt", build, hunt=Hunt(SPACE, maximize, 4, str(folder)))
    size = getattr(search, "size", 0)
    expect(size is None or (isinstance(size, int) and size > 0), f"size is {size!r}, neither None nor a number above 0")
    while len(known) < trials:
        trial = call("ask", search.ask)
        if trial is None:
            expect(size is not None and len(known) >= size, f"ask returns None after {len(known)} trials of {size}")
            break
        _check_trial(trial, known)
        known.append(trial)
        if len(known) == 1:
            call("tell of a failed trial", search.tell, trial.number, None, "failed")
            continue
        if len(known) == 2:  # the coordinator is killed while the second trial runs
            search = call("hunt with trials", build, hunt=Hunt(SPACE, maximize, 4, str(folder), tuple(known)))
            call("tell of a trial that failed before", search.tell, known[0].number, None, "failed")
        score = _score(trial, maximize)
        for epoch in (1, 2):
            course = Course((tuple((at, score) for at in range(1, epoch + 1)),), ())
            reason = call("prune", search.prune, trial.number, course)
            expect(isinstance(reason, str), f"prune returns {reason!r}, not a text")
            others = [_score(one, maximize) for one in known[1:-1]]  # the first one has failed
            best = all(score > other if maximize else score < other for other in others)
            expect(not (best and reason), f"it prunes the best trial so far: {reason}")
        call("tell", search.tell, trial.number, score, "done")
        call("tell again", search.tell, trial.number, score, "done")
    call("tell of a failed trial that is done now", search.tell, known[0].number, _score(known[0], maximize), "done")
    again = call("hunt after the end", build, hunt=Hunt(SPACE, maximize, 4, str(folder), tuple(known)))
    trial = call("ask after the end", again.ask)
    if trial is not None:
        _check_trial(trial, known)


def _score(trial: Trial, maximize: bool) -> float:
    """Best near a learning rate of 1e-2."""
    distance = abs(math.log10(trial.values["optimizer.lr"]) + 2)
    return -distance if maximize else distance


def _check_trial(trial: Any, known: list[Trial]) -> None:
    expect(isinstance(trial, Trial), f"ask returns {trial!r}, not a gisegkit.types.Trial")
    expect(trial.number not in {one.number for one in known}, f"ask gives trial {trial.number} twice")
    expect(isinstance(trial.number, int) and trial.number >= 0, f"a trial's number is {trial.number!r}, not 0 or more")
    expect(set(trial.values) == set(SPACE), f"a trial has values of {sorted(trial.values)}, and not of {sorted(SPACE)}")
    for key, axis in SPACE.items():
        value = trial.values[key]
        if axis.kind == "choice":
            right = value in axis.values
        else:
            whole = axis.kind != "integer" or type(value) is int
            right = type(value) in (int, float) and whole and axis.low <= value <= axis.high
        expect(right, f"{key} = {value!r} is not in the space: {axis}")
