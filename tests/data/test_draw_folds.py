"""The folds are those of scikit-learn, slice by slice, whatever the sizes of groups and the shares of kinds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from gisegkit.data.draw_folds import by_size, stratified, stratified_groups


def collected(splits, slices):
    assigned = np.full(slices, -1, dtype=np.int64)
    for fold, (_, validation) in enumerate(splits):
        assigned[validation] = fold
    return assigned


def drawn(seed):
    """Folds, groups numbered from 0 and kinds: of many sizes, some of them equal, with shares that differ by group."""
    rng = np.random.default_rng(seed)
    folds = int(rng.integers(2, 8))
    sizes = rng.integers(1, 40, int(rng.integers(folds, 60)))
    if seed % 3 == 0:
        sizes[:] = sizes[0]
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    shares = rng.random(len(sizes)) if seed % 2 else np.full(len(sizes), 0.4)
    kinds = rng.random(len(groups)) < shares[groups]
    return folds, groups, kinds


@pytest.mark.parametrize("seed", range(40))
def test_the_folds_of_scikit_learn(seed):
    folds, groups, kinds = drawn(seed)
    assert np.array_equal(
        by_size(groups, folds=folds), collected(GroupKFold(folds).split(groups, groups=groups), len(groups))
    )
    if min(kinds.sum(), (~kinds).sum()) < folds:
        return
    alone = StratifiedKFold(folds, shuffle=True, random_state=seed).split(groups, kinds)
    assert np.array_equal(stratified(kinds, folds=folds, seed=seed), collected(alone, len(groups)))
    together = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(groups, kinds, groups)
    assert np.array_equal(stratified_groups(groups, kinds, folds=folds, seed=seed), collected(together, len(groups)))
