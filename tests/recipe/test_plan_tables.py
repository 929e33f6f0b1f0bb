"""The keys of a plan's tables; their documentation is held to them by test_docs."""

from __future__ import annotations

from gisegkit.recipe.plan_tables import TABLES, TOP


def test_every_table_may_stand_at_the_top():
    assert set(TABLES) <= set(TOP)
    assert TABLES["run"]["seeds"].convert([0, 1]) == [0, 1]
