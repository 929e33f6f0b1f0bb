"""Plans: names that steps have are not those of cells."""

from __future__ import annotations

from gisegkit.recipe.plan import ENSEMBLE, STEPS, Plan


def test_a_new_plan_has_nothing_and_steps_have_names():
    plan = Plan("p.toml")
    assert not (plan.cells or plan.members or plan.gate or plan.tables or plan.mistakes)
    assert {ENSEMBLE, "evaluate", "tune", "predict"} < set(STEPS)
