"""States of steps: those that can be executed are not finished."""

from __future__ import annotations

from gisegkit.workflows.steps import FINISHED, TO_DO


def test_a_state_is_either_finished_or_to_do_or_waited_for():
    assert not set(FINISHED) & set(TO_DO)
    assert {"waiting", "running", "changed"}.isdisjoint({*FINISHED, *TO_DO})
