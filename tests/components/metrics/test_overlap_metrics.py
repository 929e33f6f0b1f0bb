"""gisegkit.components.metrics.overlap_metrics against brute force and hand-derived values, and in every convention."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, directed_hausdorff

from gisegkit.components.metrics.overlap_metrics import Dice, IoU, UWMGIScore
from gisegkit.testing import check_metric

VARIANTS = [
    {
        "dice_empty": dice,
        "hausdorff_unit": unit,
        "hausdorff_norm": norm,
        "hausdorff_empty": empty,
        "hausdorff_classes": classes,
    }
    for dice, unit, norm, empty, classes in product(
        ("skip", "one", "zero"), ("scan", "slice"), ("per_axis", "diagonal"), ("skip", "zero"), ("each", "merged")
    )
]


@pytest.mark.parametrize("metric", [Dice(), Dice(unit="scan"), IoU(), IoU(unit="scan", empty="one"), UWMGIScore()])
def test_contract(metric):
    check_metric(metric)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v.values()))
@pytest.mark.slow
def test_every_variant_keeps_the_contract(variant):
    check_metric(UWMGIScore(**variant))


def test_conventions_tell_the_variants_apart():
    conventions = [UWMGIScore(**variant).convention for variant in VARIANTS]
    conventions += [
        metric(unit=u, empty=e).convention
        for metric in (Dice, IoU)
        for u in ("slice", "scan")
        for e in ("skip", "one", "zero")
    ]
    assert len(set(conventions)) == len(VARIANTS) + 12


# --- dice and iou ---------------------------------------------------------------------------------------------------


def two_slices():
    """Slice 0: truth 4 pixels, prediction 3, 2 in common. Slice 1: truth empty, prediction 1. Class 1: all empty."""
    truth, prediction = np.zeros((2, 3, 4, 2), dtype=bool), np.zeros((2, 3, 4, 2), dtype=bool)
    truth[0, 0, :, 0] = True
    prediction[0, 0, :2, 0] = prediction[0, 1, 0, 0] = True
    prediction[1, 2, 2, 0] = True
    return prediction, truth


@pytest.mark.parametrize(("empty", "value"), [("skip", math.nan), ("one", 1.0), ("zero", 0.0)])
def test_by_hand(empty, value):
    prediction, truth = two_slices()
    dice = Dice(empty=empty)(prediction, truth)["dice"]
    np.testing.assert_allclose(dice, [[2 * 2 / (4 + 3), value], [0.0, value]])
    iou = IoU(empty=empty)(prediction, truth)["iou"]
    np.testing.assert_allclose(iou, [[2 / (4 + 3 - 2), value], [0.0, value]])
    np.testing.assert_allclose(Dice(unit="scan", empty=empty)(prediction, truth)["dice"], [2 * 2 / (4 + 4), value])
    np.testing.assert_allclose(IoU(unit="scan", empty=empty)(prediction, truth)["iou"], [2 / (4 + 4 - 2), value])


def test_one_empty_is_zero():
    some, none = np.ones((1, 2, 2, 1), dtype=bool), np.zeros((1, 2, 2, 1), dtype=bool)
    for prediction, truth in ((some, none), (none, some)):
        for empty in ("skip", "one", "zero"):
            assert Dice(empty=empty)(prediction, truth)["dice"].tolist() == [[0.0]]
            assert IoU(empty=empty)(prediction, truth)["iou"].tolist() == [[0.0]]
        assert UWMGIScore()(prediction, truth)["hausdorff"].tolist() == [1.0]
        assert UWMGIScore(hausdorff_unit="slice")(prediction, truth)["hausdorff"].tolist() == [[1.0]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_equal_sets_of_coordinates(seed, share, other):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((2, 4, 5, 2)) < share, rng.random((2, 4, 5, 2)) < other
    dice, iou = Dice(empty="one")(prediction, truth)["dice"], IoU(empty="one")(prediction, truth)["iou"]
    for d, k in np.ndindex(2, 2):
        p, t = (set(map(tuple, np.argwhere(m[d, :, :, k]))) for m in (prediction, truth))
        assert dice[d, k] == pytest.approx(2 * len(p & t) / (len(p) + len(t)) if p or t else 1)
        assert iou[d, k] == pytest.approx(len(p & t) / len(p | t) if p or t else 1)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))


# --- uwmgi_score ----------------------------------------------------------------------------------------------------


def reference(prediction, truth, *, per_axis):
    """Over all pairs of voxels of masks of any dimension, neither empty; normalized to [0, 1]."""
    shape = np.array(truth.shape)
    scale = 1 / shape if per_axis else np.ones(len(shape))
    pairs = cdist(np.argwhere(prediction) * scale, np.argwhere(truth) * scale)
    distance = max(pairs.min(axis=0).max(), pairs.min(axis=1).max())
    return distance / (math.sqrt(len(shape)) if per_axis else math.sqrt((shape**2).sum()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.tuples(*[st.integers(1, 8)] * 3), st.sampled_from([0.03, 0.3]), st.booleans())
def test_hausdorff_equals_brute_force(seed, shape, share, per_axis):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((*shape, 2)) < share, rng.random((*shape, 2)) < 0.2
    for mask in (prediction, truth):
        mask[rng.integers(shape[0]), rng.integers(shape[1]), rng.integers(shape[2]), :] = True
    norm = "per_axis" if per_axis else "diagonal"
    scan = UWMGIScore(hausdorff_norm=norm)(prediction, truth)["hausdorff"]
    expected = [reference(prediction[..., k], truth[..., k], per_axis=per_axis) for k in range(2)]
    np.testing.assert_allclose(scan, expected, atol=1e-9)
    merged = UWMGIScore(hausdorff_norm=norm, hausdorff_classes="merged")(prediction, truth)["hausdorff"]
    np.testing.assert_allclose(merged, reference(prediction.any(-1), truth.any(-1), per_axis=per_axis), atol=1e-9)
    slices = UWMGIScore(hausdorff_norm=norm, hausdorff_unit="slice")(prediction, truth)["hausdorff"]
    for d, k in np.ndindex(shape[0], 2):
        p, t = prediction[d, :, :, k], truth[d, :, :, k]
        if p.any() and t.any():
            assert slices[d, k] == pytest.approx(reference(p, t, per_axis=per_axis), abs=1e-9)
        else:
            assert slices[d, k] == 1 if p.any() or t.any() else math.isnan(slices[d, k])


def test_equals_the_public_grader():
    """The formula of openai/mle-bench's grader: rows' Dice and merged scans, both-empty skipped, nanmean."""
    rng = np.random.default_rng(5)
    truth = np.zeros((6, 20, 24, 3), dtype=bool)
    truth[1:4, 5:12, 6:15, 0] = truth[2:5, 9:16, 10:20, 1] = True
    prediction = np.roll(truth, (1, 2), axis=(1, 2)) & (rng.random(truth.shape) < 0.9)
    rows = []
    for d, k in np.ndindex(6, 3):
        p, t = prediction[d, :, :, k], truth[d, :, :, k]
        rows.append(2 * (p & t).sum() / (p.sum() + t.sum()) if p.any() or t.any() else np.nan)
    points = [np.argwhere(mask.any(axis=3)) / mask.shape[:3] for mask in (prediction, truth)]
    distance = max(directed_hausdorff(points[0], points[1])[0], directed_hausdorff(points[1], points[0])[0]) / np.sqrt(
        3
    )
    metric = UWMGIScore(hausdorff_classes="merged")
    parts = metric(prediction, truth)
    means = {name: float(np.nanmean(values)) for name, values in parts.items()}
    assert metric.combine(means) == pytest.approx(0.4 * np.nanmean(rows) + 0.6 * (1 - distance), abs=1e-9)


def test_score_by_hand():
    # One voxel each, 1 slice, 2 rows and 3 columns apart in 4 slices of 5 x 6 pixels: Dice 0 in both slices.
    prediction, truth = np.zeros((4, 5, 6, 1), dtype=bool), np.zeros((4, 5, 6, 1), dtype=bool)
    truth[1, 1, 1, 0] = prediction[2, 3, 4, 0] = True
    for variant, expected in (
        ("per_axis", math.sqrt((1 / 4) ** 2 + (2 / 5) ** 2 + (3 / 6) ** 2) / math.sqrt(3)),
        ("diagonal", math.sqrt(1 + 2**2 + 3**2) / math.sqrt(4**2 + 5**2 + 6**2)),
    ):
        metric = UWMGIScore(hausdorff_norm=variant)
        parts = metric(prediction, truth)
        assert parts["hausdorff"].tolist() == pytest.approx([expected], abs=1e-12)
        np.testing.assert_array_equal(parts["dice"][:, 0], [np.nan, 0, 0, np.nan])
        assert metric.combine({"dice": 0.0, "hausdorff": expected}) == pytest.approx(0.6 * (1 - expected))


def test_both_empty():
    none = np.zeros((2, 3, 3, 2), dtype=bool)
    assert np.isnan(UWMGIScore()(none, none)["hausdorff"]).all()
    assert UWMGIScore(hausdorff_empty="zero")(none, none)["hausdorff"].tolist() == [0, 0]
    assert UWMGIScore(hausdorff_empty="zero", hausdorff_unit="slice")(none, none)["hausdorff"].tolist() == [[0, 0]] * 2
    assert UWMGIScore(dice_empty="one")(none, none)["dice"].tolist() == [[1, 1]] * 2


def test_the_truth_scores_one_and_farther_scores_less():
    truth = np.zeros((5, 16, 16, 1), dtype=bool)
    truth[1:4, 4:8, 4:8] = True
    scores = []
    for shift in range(4):
        metric = UWMGIScore()
        parts = metric(np.roll(truth, shift, axis=2), truth)
        scores.append(metric.combine({name: float(np.nanmean(values)) for name, values in parts.items()}))
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4
