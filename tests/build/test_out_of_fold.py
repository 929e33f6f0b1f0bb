"""Slices that validated, from what is kept of them; workflows/test_folds.py has those of several folds."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from gisegkit.types import silent

pytestmark = pytest.mark.slow  # a whole training


def test_slices_that_validated_come_from_what_is_kept_within_half_a_step(ensemble, run, values, alone):
    whole = ensemble()
    weights = whole.take_over(whole.run)
    part = whole.part_of(whole.parts_of(whole.run, weights))
    assert not (run.path / "oof").exists()
    found = values(whole.probabilities(part.rows, label="", progress=silent))
    assert sorted(path.name for path in run.oof.iterdir()) == ["files.json", "probabilities.npz"]
    for row, (mean, truth) in alone(part.rows).items():
        assert np.abs(found[row][0] - mean).max() <= 0.5 / 255 + 1e-5
        assert (found[row][1] == truth).all()
    assert whole.folds_of(part.rows).tolist() == [0] * len(part.rows)
    with ExitStack() as stack:
        one, other = whole.stored(part.rows, stack)
        assert (one.weight, other.weight) == (3.0, 1.0) and len(one.files) == len(other.files) == 1


@pytest.mark.parametrize(
    ("override", "own"), [("evaluate.threshold=0.3", True), ("input.interpolation=nearest", False)]
)
def test_only_a_change_that_changes_no_probability_uses_what_is_kept(ensemble, run, values, override, own):
    whole = ensemble(override)
    weights = whole.take_over(whole.run)
    assert whole.own is own
    part = whole.part_of(whole.parts_of(whole.run, weights))
    assert len(values(whole.probabilities(part.rows, label="", progress=silent))) == len(part.rows)
    assert run.oof.exists() is own
