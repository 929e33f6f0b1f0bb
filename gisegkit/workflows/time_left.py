"""How long the runs of a plan will still take, as far as those that have ended tell."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from gisegkit.build.dataset import build_component
from gisegkit.types import Executor
from gisegkit.workflows.plan_steps import Work
from gisegkit.workflows.steps import State

WORKERS = "workers"
"""The parameter by which an executor says how many commands run side by side; one without it has a queue."""


def at_once(work: Work, executor: Executor | None = None) -> int:
    """How many runs go side by side; 1 for an executor with a queue, of which nobody knows.

    Args:
        executor: if it is made already.
    """
    spec = work.plan.parts["executor"]
    if WORKERS not in spec.params:
        return 1
    if executor is None and not spec.params[WORKERS]:  # it is settled by the machine
        executor = build_component(spec, work.registries, device=work.device, folder=str(work.folder.resolve()))
    return int(spec.params[WORKERS] if executor is None else executor.slots)


def time_left(
    work: Work, states: Mapping[str, State], *, workers: int | None = None, to_come: int | None = None
) -> float | None:
    """Seconds that the runs which are not done will take; None if no run has ended yet.

    A run is taken to need as long as the finished ones of the same ``[[run]]``, or as all finished ones; a trial that
    is to come as long as those that have ended, pruned ones among them. What comes after the runs is not counted.

    Args:
        workers: how many runs go side by side; default what the plan says.
        to_come: trials that the search has not asked for; default what is missing to its ``trials``.
    """
    if to_come is None:
        trials = None if work.goal is None else work.goal.trials
        to_come = 0 if trials is None else max(0, trials - len(work.trials))
    took, ended = _took(work, states)
    if not took:
        return None
    every = [seconds for values in took.values() for seconds in values]
    left = []
    for step in work.steps:
        state = states[step.name]
        if step.run and state.word in ("missing", "interrupted", "running", "failed"):
            left.append(statistics.mean(took.get(step.run, every)) * (1 - state.done))
    left += [statistics.mean(ended or every)] * to_come
    if not left:
        return 0.0
    return max(sum(left) / (at_once(work) if workers is None else workers), *left)


def _took(work: Work, states: Mapping[str, State]) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of finished runs by ``[[run]]``, and of trials that have ended."""
    took: dict[str, list[float]] = {}
    ended = []
    for step in work.steps:
        state = states[step.name]
        if not step.run or not state.seconds:
            continue
        if state.word == "done":
            took.setdefault(step.run, []).append(state.seconds)
        if state.word in ("done", "pruned") and work.cell(step.name).trial is not None:
            ended.append(state.seconds)
    return took, ended
