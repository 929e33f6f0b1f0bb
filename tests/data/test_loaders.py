"""Loaders: samples depend on (seed, epoch, row) and on nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gisegkit.components.augmentation.warp_policies import baseline
from gisegkit.components.normalizations import Maximum
from gisegkit.data.inputs import Input
from gisegkit.data.loaders import EpochSampler, EvaluationSet, TrainingSet, evaluation_loader, training_loader
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.errors import ComponentError
from gisegkit.types import IGNORE


class Slices:
    """Eleven small slices of three scans, made from their row number."""

    classes = ("a", "b")
    exclusive = False
    dropped = ()

    def __init__(self):
        rows = range(11)
        self.table = pd.DataFrame(
            {
                "id": [f"s{row}" for row in rows],
                "scan": [f"v{row // 4}" for row in rows],
                "position": [row % 4 for row in rows],
                "case": [f"g{row // 4}" for row in rows],
                "height": [20 if row < 4 else 24 for row in rows],
                "width": [16] * 11,
                "labelled": [row < 8 for row in rows],
                "empty": [False] * 11,
            }
        )

    def image(self, row):
        height = int(self.table["height"][row])
        return (np.random.default_rng(row).random((height, 16)) * 60000).astype(np.uint16)

    def mask(self, row):
        height = int(self.table["height"][row])
        mask = (np.random.default_rng(100 + row).random((height, 16, 2)) < 0.5).astype(np.uint8)
        mask[0, 0] = IGNORE
        return mask


@pytest.fixture
def source():
    dataset = Slices()
    preprocess = Preprocess(Maximum(), (32, 32), "fit", "linear")
    return Input(SliceReader(dataset, slices=1, stride=1, edge="clamp", preprocess=preprocess))


@pytest.fixture
def samples(source):
    return TrainingSet(source, baseline(size=(32, 32)), seed=3)


def test_sample_shapes(samples):
    image, mask, row = samples[(1, 5)]
    assert image.shape == (1, 32, 32) and image.dtype == np.float32
    assert mask.shape == (2, 32, 32) and mask.dtype == np.uint8
    assert row == 5 and set(np.unique(mask)) <= {0, 1, IGNORE}


def test_a_sample_is_a_function_of_its_key(samples):
    first = [samples[(epoch, row)][0] for epoch in (1, 2, 3, 4) for row in range(8)]
    second = [samples[(epoch, row)][0] for epoch in (1, 2, 3, 4) for row in range(8)]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not np.array_equal(first[row], first[row + 8]) for row in range(8))  # flips differ between epochs


@pytest.mark.parametrize(
    ("rows", "batch", "sizes"), [(8, 3, [3, 3, 2]), (7, 3, [3, 3]), (6, 3, [3, 3]), (1, 3, [1]), (2, 3, [2])]
)
def test_sampler_batches(rows, batch, sizes):
    sampler = EpochSampler(np.arange(rows), batch_size=batch, seed=0)
    batches = list(sampler)
    assert [len(keys) for keys in batches] == sizes
    assert len(sampler) == len(sizes)
    seen = [row for keys in batches for _, row in keys]
    assert len(set(seen)) == len(seen) and set(seen) <= set(range(rows))


def test_sampler_order_changes_with_the_epoch_and_the_seed():
    def order(seed, epoch):
        sampler = EpochSampler(np.arange(50), batch_size=50, seed=seed)
        sampler.epoch = epoch
        return [row for keys in sampler for _, row in keys]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 2)


@pytest.mark.slow
def test_workers_change_nothing(samples):
    def batches(workers):
        sampler = EpochSampler(np.arange(8), batch_size=3, seed=0)
        loader = training_loader(samples, sampler, workers=workers, pin=False)
        result = []
        for epoch in (1, 2):
            sampler.epoch = epoch
            result += [(batch.images.clone(), batch.masks.clone(), batch.rows.clone()) for batch in loader]
        return result

    for none, two in zip(batches(0), batches(2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(none, two, strict=True))


@pytest.mark.slow
def test_batches_that_are_kept_stay_as_they_were(samples):
    """More are kept than there are buffers in shared memory, which is used again only where no batch is left."""
    keys = [[(epoch, row) for row in range(4)] for epoch in range(1, 16)]
    kept = list(training_loader(samples, keys, workers=2, pin=False))
    assert len({batch.images.data_ptr() for batch in kept}) == len(keys)
    for batch, own in zip(kept, training_loader(samples, keys, workers=0, pin=False), strict=True):
        assert torch.equal(batch.images, own.images) and torch.equal(batch.masks, own.masks)
    again = training_loader(samples, keys, workers=2, pin=False)
    assert len({batch.images.data_ptr() for batch in again}) < len(keys)


@pytest.mark.slow
def test_an_epoch_that_was_left_early_does_not_disturb_the_next(samples):
    sampler = EpochSampler(np.arange(8), batch_size=2, seed=0)
    loader = training_loader(samples, sampler, workers=2, pin=False)
    for epoch in range(1, 8):
        sampler.epoch = epoch
        next(iter(loader))
    sampler.epoch = 9
    found = [(batch.images.clone(), batch.rows.clone()) for batch in loader]
    own = list(training_loader(samples, sampler, workers=0, pin=False))
    assert all(
        torch.equal(a, batch.images) and torch.equal(b, batch.rows) for (a, b), batch in zip(found, own, strict=True)
    )


def test_a_later_batch_may_be_larger(samples):
    keys = [[(1, 0), (1, 1)], [(1, row) for row in range(5)]]
    small, large = training_loader(samples, keys, workers=1, pin=False)
    assert small.rows.tolist() == [0, 1] and large.rows.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(large.images[:2], small.images)


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_of_one_batch_are_alike(source, workers):
    def grow(image, mask, rng):
        side = 32 if rng.random() < 0.5 else 40
        return np.zeros((side, side, 1), np.float32), np.zeros((side, side, 2), np.uint8)

    samples = TrainingSet(source, grow, seed=0)
    with pytest.raises(ComponentError, match=r"samples differ in form: .*32, 32.*40, 40|40, 40.*32, 32"):
        list(training_loader(samples, [[(1, row) for row in range(8)]], workers=workers, pin=False))


def test_evaluation_keeps_order_and_native_masks(source):
    loader = evaluation_loader(EvaluationSet(source, range(11)), batch_size=4, workers=0, pin=False)
    batches = list(loader)
    assert [row for batch in batches for row in batch.rows] == list(range(11))
    masks = [mask for batch in batches for mask in batch.masks]
    assert [None if mask is None else mask.shape for mask in masks] == [(20, 16, 2)] * 4 + [(24, 16, 2)] * 4 + [
        None
    ] * 3
    assert batches[0].images.shape == (4, 1, 32, 32)


def test_loaders_leave_the_global_generator_alone(samples):
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    list(training_loader(samples, EpochSampler(np.arange(4), batch_size=2, seed=0), workers=0, pin=False))
    assert torch.equal(torch.rand(2), expected)
