"""Gates: pixels are counted slice by slice, and what is not seen is emptied, never anything else."""

from __future__ import annotations

import numpy as np

from gisegkit.engine.decision import DecidedSlice, Decision
from gisegkit.engine.gate import gated_scans, seen_pixels
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities


def predicted(values, *, scans=2, depth=2):
    """Scans whose slices all hold the same values ``[H, W, K]``; rows count on from scan to scan."""
    for number in range(scans):
        rows = list(range(number * depth, (number + 1) * depth))
        yield ScanProbabilities(
            f"s{number}", rows, iter([SliceProbabilities(row, values.copy(), None) for row in rows])
        )


def test_pixels_are_counted_by_class_at_native_size():
    masks = [np.zeros((3, 4, 2), bool) for _ in range(3)]
    masks[1][:2, :, 0] = True
    masks[2][..., 1] = True
    slices = (DecidedSlice("s", row, mask, None) for row, mask in zip((4, 7, 9), masks, strict=True))
    assert {row: pixels.tolist() for row, pixels in seen_pixels(slices).items()} == {4: [0, 0], 7: [8, 0], 9: [0, 12]}


def test_only_the_classes_that_are_not_seen_are_emptied():
    values = np.random.default_rng(0).random((3, 4, 2), dtype=np.float32)
    keeps = {0: [True, True], 1: [True, False], 2: [False, False], 3: [False, True]}
    gated = gated_scans(predicted(values), {row: np.array(flags) for row, flags in keeps.items()})
    found = {item.row: item.values for scan in gated for item in scan}
    for row, flags in keeps.items():
        for k, keep in enumerate(flags):
            assert np.array_equal(found[row][..., k], values[..., k] if keep else np.zeros((3, 4)))
        assert found[row].dtype == np.float32


def test_a_scan_that_nobody_looks_at_is_passed_over():
    values = np.ones((2, 2, 1), np.float32)
    found = []
    for scan in gated_scans(predicted(values), {row: np.array([row == 2]) for row in range(4)}):
        found += [(item.row, item.values.any()) for item in scan] if scan.name == "s1" else []
    assert found == [(2, True), (3, False)]


def test_an_emptied_exclusive_class_leaves_its_pixels_to_the_background():
    """Of 0.6 and 0.3 beside a background of 0.1, the second alone is 0.3 against 0.7: no pixel is its."""
    values = np.tile(np.array([0.6, 0.3], np.float32), (2, 2, 1))
    decide = Decision(0.5, exclusive=True)
    assert decide.slice(values)[..., 0].all()
    gated = gated_scans(predicted(values, scans=1, depth=1), {0: np.array([False, True])})
    (item,) = [item for scan in gated for item in scan]
    assert not decide.slice(item.values).any()
