"""Runs of one fold each, put together by seed; what is ranked of them is tested in test_ranking."""

from __future__ import annotations

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.pooled import pooled
from gisegkit.runs.scored import read_run


def test_folds_of_a_seed_are_put_together_and_the_same_slices_are_not(write_run):
    def read(name, first, seed):
        text = f"split.fold = {first // 2}"
        return read_run(write_run(name, first=first, cases=2, seed=seed, recipe=text), name)

    one, two, alone = read("a", 2, 0), read("b", 0, 0), read("c", 0, 1)
    both, other = pooled([one, two, alone], "dice")
    assert other is alone and both.recipe["split"]["fold"] == [0, 1]
    assert len(both.slices) == len(one.slices) + len(two.slices) and both.slices["case"].nunique() == 4
    with pytest.raises(RunError, match="a, d are of other folds and scored the same slices"):
        pooled([one, read("d", 2, 0)], "dice")
