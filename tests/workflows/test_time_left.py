"""The time that is left: runs that go side by side, and trials that are to come."""

from __future__ import annotations

import pytest

from gisegkit.types import Trial
from gisegkit.workflows.steps import State
from gisegkit.workflows.time_left import at_once, time_left

RUN = '[[run]]\nname = "n"\nrecipe = "{recipe}"\nseeds = [0, 1, 2, 3, 4]\n'
SEARCH = """
[[run]]
name = "n"
recipe = "{recipe}"
[search]
name = "random"
trials = 10
[search.space]
"optimizer.lr" = {{log_uniform = [1e-3, 1.0]}}
"""


def states(work, *words):
    return {step.name: word for step, word in zip(work.steps, words, strict=True)}


def test_runs_side_by_side_share_the_time_but_one_alone_does_not_get_shorter(open_):
    done, missing = State("done", "", 60.0, 1.0), State("missing")
    for workers, left in ((1, 240.0), (2, 120.0), (3, 80.0), (8, 60.0)):
        work = open_(text=f'[executor]\nname = "local"\nworkers = {workers}\n{RUN}')
        assert at_once(work) == workers
        assert time_left(work, states(work, done, *[missing] * 4)) == pytest.approx(left)
    half = State("running", "", None, 0.5)
    assert time_left(work, states(work, done, done, done, done, half)) == 30.0
    assert time_left(work, states(work, *[done] * 5)) == 0.0
    assert time_left(work, states(work, *[missing] * 5)) is None


def test_workers_that_the_machine_settles_are_asked_of_the_executor(open_, cluster):
    work = open_(text=RUN)
    assert at_once(work) == 1 and at_once(work, cluster(None, 3)) == 3  # a CPU
    del work.plan.parts["executor"].params["workers"]  # as of an executor with a queue
    assert at_once(work, cluster(None, 100)) == 1


def test_trials_that_are_to_come_take_as_long_as_those_that_have_ended(open_):
    """Of 10 trials, one is done in 100 seconds, one was pruned after 20, and one runs and is half done."""
    from gisegkit.workflows.goal import load_cell
    from gisegkit.workflows.searching import trial_cell

    work = open_(text=SEARCH)
    for number in range(3):
        work.trials.append(Trial(number, {"optimizer.lr": 0.1}))
        cell = trial_cell(work.plan.searched, work.trials[-1])
        work.add(cell, load_cell(cell, work.registries, demo=False))
    found = states(work, State("done", "", 100.0, 1.0), State("pruned", "", 20.0), State("running", "", None, 0.5))
    assert time_left(work, found) == pytest.approx(0.5 * 100 + 7 * 60)
    assert time_left(work, found, to_come=2, workers=2) == pytest.approx((0.5 * 100 + 2 * 60) / 2)
