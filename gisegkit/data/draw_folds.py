"""Slices drawn into folds: stratified, by groups, or both.

The folds are those of scikit-learn's StratifiedKFold, StratifiedGroupKFold and GroupKFold (version 1.9), which
tests/data/test_draw_folds.py holds them to; importing scikit-learn takes longer than all else that a command needs
before it looks at data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.types import BoolArray, FloatArray

    Rows = NDArray[np.int64]


def stratified(kinds: BoolArray, *, folds: int, seed: int) -> Rows:
    """The fold of each of N slices, ``[N]``; both kinds have nearly the same share in all folds.

    Args:
        kinds: ``[N]``, of which kind each slice is; at least ``folds`` of each.
    """
    random = np.random.RandomState(seed)
    codes = (kinds != kinds[0]).astype(np.int64)  # numbered as they appear
    order = np.sort(codes)
    shares = np.array([np.bincount(order[fold::folds], minlength=2) for fold in range(folds)])  # [folds, 2]
    assigned = np.empty(len(codes), dtype=np.int64)
    for code in range(2):
        drawn = np.arange(folds).repeat(shares[:, code])
        random.shuffle(drawn)
        assigned[codes == code] = drawn
    return assigned


def stratified_groups(groups: Rows, kinds: BoolArray, *, folds: int, seed: int) -> Rows:
    """The fold of each of N slices, ``[N]``; groups stay whole, and both kinds have similar shares as far as that goes.

    The groups that are most uneven come first, each into the fold that makes the shares most alike. A fold may be left
    without a group where groups are few.

    Args:
        groups: ``[N]``, numbered from 0.
        kinds: ``[N]``, of which kind each slice is.
    """
    random = np.random.RandomState(seed)
    counts = np.stack([np.bincount(groups, weights=kinds == kind) for kind in (False, True)], axis=1)  # [G, 2]
    shuffled = np.arange(len(counts))
    random.shuffle(shuffled)
    counts = counts[shuffled]
    whole = counts.sum(axis=0)
    in_fold = np.zeros((folds, 2))
    fold_of = np.empty(len(counts), dtype=np.int64)
    for group in np.argsort(-np.std(counts, axis=1), kind="stable"):
        best = _best_fold(in_fold, whole, counts[group])
        in_fold[best] += counts[group]
        fold_of[shuffled[group]] = best
    return fold_of[groups]


def _best_fold(in_fold: FloatArray, whole: FloatArray, counts: FloatArray) -> int:
    """The fold that a group makes the shares most alike in; of equal ones the smallest."""
    best, least, fewest = 0, np.inf, np.inf
    for fold in range(len(in_fold)):
        with_it = in_fold.copy()
        with_it[fold] += counts
        uneven = float(np.mean(np.std(with_it / whole, axis=0)))
        slices = float(in_fold[fold].sum())
        if uneven < least or (np.isclose(uneven, least) and slices < fewest):
            best, least, fewest = fold, uneven, slices
    return best


def by_size(groups: Rows, *, folds: int) -> Rows:
    """The fold of each of N slices, ``[N]``: the largest group comes first, each into the fold with the fewest slices.

    Args:
        groups: ``[N]``, numbered from 0.
    """
    sizes = np.bincount(groups)
    in_fold = np.zeros(folds)
    fold_of = np.empty(len(sizes), dtype=np.int64)
    for group in np.argsort(sizes, kind="stable")[::-1]:
        fold = int(np.argmin(in_fold))
        in_fold[fold] += sizes[group]
        fold_of[group] = fold
    return fold_of[groups]
