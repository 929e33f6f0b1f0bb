"""Ensembles: the weighted mean of networks on the same images, and of predictions at native size."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from gisegkit.engine.mixed import MeanOfNetworks, Voice, mixed_scans
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities


class Constant:
    """A predictor that gives the same probability everywhere, and counts whom it was prepared for."""

    device = "cpu"

    def __init__(self, value, *, exclusive=False):
        self.value, self.exclusive, self.prepared = value, exclusive, 0

    @contextmanager
    def evaluating(self):
        self.prepared += 1
        yield
        self.prepared -= 1

    def __call__(self, images):
        return torch.full((len(images), 2, *images.shape[2:]), self.value)


def test_the_mean_of_networks_is_weighted_and_leaves_their_results_alone():
    first, other = Constant(0.2), Constant(0.8)
    both = MeanOfNetworks([first, other], [3, 1])
    assert torch.allclose(both(torch.zeros(1, 1, 4, 4)), torch.full((1, 2, 4, 4), 0.35))
    with both.evaluating():
        assert (first.prepared, other.prepared) == (1, 1)
    assert (first.prepared, other.prepared) == (0, 0)
    assert both.device == "cpu"


def test_a_mean_of_ones_is_not_above_one():
    assert MeanOfNetworks([Constant(1.0)] * 7, [0.1] * 7)(torch.zeros(1, 1, 2, 2)).max() <= 1


def test_one_network_is_itself():
    value = torch.rand(1, 2, 3, 3)
    same = MeanOfNetworks([lambda images: value], [0.3])
    assert same(torch.zeros(1, 1, 3, 3)) is value


@pytest.mark.parametrize(("kinds", "exclusive"), [((True, True), True), ((True, False), False)])
def test_classes_exclude_one_another_only_if_they_do_everywhere(kinds, exclusive):
    assert MeanOfNetworks([Constant(0.1, exclusive=kind) for kind in kinds], [1, 1]).exclusive == exclusive


def scans(seed, *, rows=((0, 1), (2,)), held=None):
    for number, own in enumerate(rows):
        yield ScanProbabilities(f"s{number}", own, slices(seed, own, held))


def slices(seed, own, held):
    for row in own:
        if held is not None:
            held.append(row)
        values = np.random.default_rng([seed, row]).random((4, 5, 2)).astype(np.float32)
        truth = np.zeros((4, 5, 2), np.uint8)
        truth[..., 1] = row
        yield SliceProbabilities(row, values, truth)


def test_predictions_are_mixed_slice_by_slice_with_classes_by_name():
    first, other = (np.random.default_rng([seed, 1]).random((4, 5, 2)).astype(np.float32) for seed in (1, 2))
    mixed = mixed_scans([Voice(scans(1), 1.0), Voice(scans(2), 3.0, (1, 0))])
    found = [(scan.name, list(scan)) for scan in mixed]
    assert [(name, [item.row for item in items]) for name, items in found] == [("s0", [0, 1]), ("s1", [2])]
    item = found[0][1][1]
    assert np.allclose(item.values, 0.25 * first + 0.75 * other[..., ::-1])
    assert (item.truth[..., 1] == 1).all()


def test_the_truth_is_in_the_order_of_the_mean():
    (item,) = (item for scan in mixed_scans([Voice(scans(1, rows=((1,),)), 1.0, (1, 0))]) for item in scan)
    assert (item.truth[..., 0] == 1).all() and not item.truth[..., 1].any()


def test_one_slice_of_each_prediction_is_there_at_a_time():
    held: list[int] = []
    for scan in mixed_scans([Voice(scans(1, held=held), 1.0), Voice(scans(2, held=held), 1.0)]):
        for done, _ in enumerate(scan, start=1):
            assert len(held) == 2 * done + (4 if scan.name == "s1" else 0)


def test_members_that_predict_other_slices_are_a_defect():
    mixed = mixed_scans([Voice(scans(1), 1.0), Voice(scans(2, rows=((0, 2), (1,))), 1.0)])
    with pytest.raises(RuntimeError, match="other slices of scan s0"):
        list(next(mixed))
