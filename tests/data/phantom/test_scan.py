"""One phantom scan: deterministic, empty at both ends, organs that move between days and never show as slivers."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.data.phantom.scan import Scan, generator, smooth

SLICES = 16


def masks(**options):
    scan = Scan(**({"seed": 0, "case": 1, "day": 0, "slices": SLICES} | options))
    return np.stack([scan.draw(position)[1] for position in range(SLICES)])  # [D, H, W, K]


@pytest.fixture(scope="module")
def first():
    return masks()


def test_a_slice_does_not_depend_on_which_were_drawn_before():
    scan = Scan(seed=0, case=2, day=1, slices=SLICES)
    late = scan.draw(9)
    again = Scan(seed=0, case=2, day=1, slices=SLICES)
    for position in range(9):
        again.draw(position)
    assert all(np.array_equal(a, b) for a, b in zip(late, again.draw(9), strict=True))


@pytest.mark.parametrize(("case", "shape"), [(1, (266, 266)), (2, (310, 360))])
def test_image_and_mask(case, shape):
    image, mask = Scan(seed=0, case=case, day=0, slices=SLICES).draw(8)
    assert image.shape == shape and image.dtype == np.uint16
    assert mask.shape == (*shape, 3) and mask.dtype == bool
    assert image.max() > 500


def test_both_ends_are_empty_and_every_organ_is_there(first):
    shown = first.any(axis=(1, 2))  # [D, K]
    assert not shown[0].any() and not shown[-1].any()
    assert shown.any(axis=0).all()


def test_organs_move_between_days(first):
    other = masks(day=1)
    for k in range(3):
        union = (first[..., k] | other[..., k]).sum()
        assert 0.05 < (first[..., k] & other[..., k]).sum() / union < 0.98


def test_cases_differ(first):
    assert not np.array_equal(first, masks(case=3))


def test_smooth_fields_are_smooth_and_centered():
    field = smooth(generator(0, 1), (100, 120), (3, 4))
    assert field.shape == (100, 120)
    assert np.abs(np.diff(field, axis=0)).max() < 0.3
    assert abs(field.mean()) < 1.5
