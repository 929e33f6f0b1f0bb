"""gisegkit.components.metrics.surface_metrics against MONAI, brute force and hand-derived values."""

from __future__ import annotations

import math
import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from gisegkit.components.metrics.surface_metrics import ASSD, HD95, NSD
from gisegkit.testing import check_metric

UNITS = ("scan", "slice")
HD95S = [HD95(unit=u, empty=e, one_empty=o) for u, e, o in product(UNITS, ("skip", "zero"), ("diagonal", "skip"))]
ASSDS = [ASSD(unit=u, empty=e, one_empty=o) for u, e, o in product(UNITS, ("skip", "zero"), ("diagonal", "skip"))]
NSDS = [NSD(unit=u, empty=e, tolerance=t) for u, e, t in product(UNITS, ("skip", "one", "zero"), (1.0, 2.5))]


@pytest.mark.parametrize("metric", HD95S + ASSDS + NSDS, ids=lambda metric: metric.convention)
@pytest.mark.slow
def test_contract(metric):
    check_metric(metric)


def test_conventions_tell_the_variants_apart():
    assert len({metric.convention for metric in HD95S + ASSDS + NSDS}) == len(HD95S + ASSDS + NSDS)


# --- by hand --------------------------------------------------------------------------------------------------------


def squares():
    """One slice of 20 x 30: truth a square of 9 pixels (rows, columns 2-4), prediction the same 5 columns on."""
    truth, prediction = np.zeros((1, 20, 30, 1), dtype=bool), np.zeros((1, 20, 30, 1), dtype=bool)
    truth[0, 2:5, 2:5] = prediction[0, 2:5, 7:10] = True
    return prediction, truth


def test_by_hand():
    """Surfaces are the 8 border pixels. Per row, columns 7 8 9 are 3 4 5 columns from column 4, and mirrored back.

    The middle row has no pixel in its middle, so each direction has the distances 3 x 3, 2 x 4 and 3 x 5 columns.
    """
    prediction, truth = squares()
    spacing = (1.5, 2.0)  # mm: rows, columns
    (value,) = HD95(unit="slice")(prediction, truth, spacing=spacing).values()
    assert value.shape == (1, 1) and value[0, 0] == pytest.approx(5 * 2.0)  # the 5th to 8th of 8 are 5 columns
    (value,) = ASSD(unit="slice")(prediction, truth, spacing=spacing).values()
    assert value[0, 0] == pytest.approx((3 * 3 + 2 * 4 + 3 * 5) / 8 * 2.0)
    for tolerance, share in ((5.9, 0), (6, 3 / 8), (8, 5 / 8), (10, 1)):
        (value,) = NSD(unit="slice", tolerance=tolerance)(prediction, truth, spacing=spacing).values()
        assert value[0, 0] == pytest.approx(share)


@pytest.mark.parametrize("step", [0.1, 0.3, 1.1, 1.63])
def test_a_distance_that_equals_the_tolerance_is_within_it(step):
    prediction, truth = squares()
    (value,) = NSD(unit="slice", tolerance=step * 3)(prediction, truth, spacing=(1.0, step)).values()
    assert value[0, 0] == pytest.approx(3 / 8)


def test_scans_have_surfaces_on_top_and_below():
    truth, prediction = np.zeros((5, 8, 8, 1), dtype=bool), np.zeros((5, 8, 8, 1), dtype=bool)
    truth[1:4, 2:5, 2:5] = prediction[1:3, 2:5, 2:5] = True  # all of the truth's 27 voxels but one are its surface
    (value,) = ASSD()(prediction, truth, spacing=(3.0, 1.0, 1.0)).values()
    assert value.shape == (1,)  # of prediction's 18 voxels, the center of its upper slice is 1 mm from the truth's
    assert value[0] == pytest.approx((1 + 9 * 3) / (18 + 26))  # surface; 9 of the truth's 26 lie a slice below


def test_empties():
    empty, full = np.zeros((2, 3, 4, 1), dtype=bool), np.ones((2, 3, 4, 1), dtype=bool)
    mm = (3.0, 1.0, 2.0)
    diagonal = {"scan": math.sqrt(6**2 + 3**2 + 8**2), "slice": math.sqrt(3**2 + 8**2)}
    for kind, unit in product((HD95, ASSD), UNITS):
        spacing = mm if unit == "scan" else mm[1:]
        for pair in ((empty, full), (full, empty)):
            (value,) = kind(unit=unit)(*pair, spacing=spacing).values()
            assert value == pytest.approx(np.full(value.shape, diagonal[unit]))
            (value,) = kind(unit=unit, one_empty="skip")(*pair, spacing=spacing).values()
            assert np.isnan(value).all()
        (value,) = kind(unit=unit)(empty, empty, spacing=spacing).values()
        assert np.isnan(value).all()
        (value,) = kind(unit=unit, empty="zero")(empty, empty, spacing=spacing).values()
        assert (value == 0).all()
    for unit, (empties, expected) in product(UNITS, {"skip": math.nan, "one": 1.0, "zero": 0.0}.items()):
        metric, spacing = NSD(unit=unit, empty=empties), mm if unit == "scan" else mm[1:]
        np.testing.assert_array_equal(
            metric(empty, empty, spacing=spacing)["nsd"],
            np.full_like(metric(empty, full, spacing=spacing)["nsd"], expected),
        )
        assert (metric(empty, full, spacing=spacing)["nsd"] == 0).all()


# --- independent implementations ------------------------------------------------------------------------------------


def surface(mask):
    """Voxels with a neighbor outside, looked up one by one."""
    padded = np.pad(mask, 1)
    steps = [sign * row for row in np.eye(mask.ndim, dtype=int) for sign in (1, -1)]
    found = [at for at in np.argwhere(mask) if not all(padded[tuple(at + 1 + step)] for step in steps)]
    return np.array(found).reshape(-1, mask.ndim)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(3, 7, 9), (1, 12, 11), (4, 1, 6)]), st.sampled_from([0.1, 0.5, 0.9]))
def test_equals_brute_force(seed, shape, share):
    rng = np.random.default_rng(seed)
    prediction, truth = (rng.random((*shape, 2)) < share for _ in range(2))
    prediction[0, 0, 0] = truth[-1, -1, -1] = True
    spacing = tuple(rng.uniform(0.3, 4, 3))
    for k in range(2):
        points = [surface(mask[..., k]) * np.array(spacing) for mask in (prediction, truth)]
        table = cdist(*points)
        forth, back = table.min(axis=1), table.min(axis=0)
        both = np.concatenate([forth, back])
        expected = {
            "hd95": max(np.percentile(forth, 95), np.percentile(back, 95)),
            "assd": both.mean(),
            "nsd": (both <= 2.0).mean(),
        }
        for metric in (HD95(), ASSD(), NSD(tolerance=2.0)):
            ((name, values),) = metric(prediction, truth, spacing=spacing).items()
            assert values[k] == pytest.approx(expected[name], abs=1e-9)


def blob(rng, shape):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    center, radii = rng.uniform(40, 60, 2), rng.uniform(5, 20, 2)
    solid = ((rows - center[0]) / radii[0]) ** 2 + ((columns - center[1]) / radii[1]) ** 2 < 1
    return solid ^ (rng.random(shape) < 0.002)


def test_equals_monai_on_slices_with_spacing():
    torch, metrics = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    rng = np.random.default_rng(3)
    prediction, truth = (np.stack([blob(rng, (100, 120)) for _ in range(12)])[..., None] for _ in range(2))
    prediction[3] = truth[3]
    prediction[4, :50] = True  # touches the border
    spacing = (1.63, 1.5)
    pair = [torch.from_numpy(np.moveaxis(mask, 3, 1).astype(np.float32)) for mask in (prediction, truth)]
    options = {"include_background": True, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own calls of what it calls deprecated
        expected = {
            "hd95": metrics.compute_hausdorff_distance(*pair, percentile=95, **options),
            "assd": metrics.compute_average_surface_distance(*pair, symmetric=True, **options),
            "nsd": metrics.compute_surface_dice(*pair, class_thresholds=[2.0], **options),
        }
    for metric in (HD95(unit="slice"), ASSD(unit="slice"), NSD(unit="slice", tolerance=2.0)):
        ((name, values),) = metric(prediction, truth, spacing=spacing).items()
        np.testing.assert_allclose(values, expected[name].numpy(), atol=1e-5, rtol=0)
