"""What a network gets of a slice: whole slices and random crops, at each store, with neighbors, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.build.network import make_source
from gisegkit.data.crops import scaled
from gisegkit.data.loaders import EpochSampler, TrainingSet
from gisegkit.data.preprocess import CropPreprocess
from gisegkit.types import IGNORE

CROP = ("input.mode=crop", "input.size=[16,24]", "augmentation.name=none", "batch_transform=[]")


@pytest.fixture
def source(session, recipe):
    """The crop input of the tiny recipe with overrides, its slices prepared if the recipe wants that."""

    def make(*sets):
        experiment = session.experiment(recipe(*CROP, *sets))
        experiment.prepare()
        return experiment.source

    return make


def rng(seed=0):
    return np.random.default_rng(seed)


def labelled(source):
    """Rows with a mask."""
    return np.flatnonzero(source.dataset.table["labelled"]).tolist()


@pytest.mark.slow
def test_a_crop_is_part_of_the_slice_and_its_mask_the_same_part(source):
    crops = source("input.store=off")
    row = labelled(crops)[3]
    whole, truth = crops.image(row), crops.truth(row)
    height, width = truth.shape[:2]
    assert isinstance(crops.preprocess, CropPreprocess) and whole.shape[:2] == (height, width), "native resolution"
    for seed in range(5):
        image, mask = crops.sample(row, rng(seed))
        assert image.shape[:2] == mask.shape[:2] == (16, 24)
        found = [
            (top, left)
            for top in range(height - 15)
            for left in range(width - 23)
            if np.array_equal(whole[top : top + 16, left : left + 24], image)
            and np.array_equal(truth[top : top + 16, left : left + 24], mask)
        ]
        assert found


@pytest.mark.parametrize(
    "stack", [(), ("input.slices=3",), ("normalization.name=percentile", "normalization.over=stack", "input.slices=3")]
)
@pytest.mark.parametrize("store", ["native", "resized"])
def test_the_store_changes_no_bit_of_a_crop(source, stack, store):
    kept, read = source(f"input.store={store}", *stack), source("input.store=off", *stack)
    assert kept.reader.store is not None and kept.reader.store.layout.size is None, "crops are cut of native slices"
    for row in labelled(read)[:6:5]:
        for mine, theirs in zip(kept.sample(row, rng(row)), read.sample(row, rng(row)), strict=True):
            assert np.array_equal(mine, theirs)
        assert np.array_equal(kept.image(row), read.image(row))


def test_neighbors_are_cropped_at_the_same_place(source):
    stack, single = (
        source("input.slices=3", "normalization.name=dtype"),
        source("input.slices=1", "normalization.name=dtype"),
    )
    row = labelled(single)[4]
    image, _ = stack.sample(row, rng(1))
    alone, _ = single.sample(row, rng(1))
    assert image.shape[2] == 3 * alone.shape[2]
    assert np.array_equal(image[:, :, 1:2], alone)


def test_all_crops_around_a_class_have_one_and_none_need_not(source):
    crops = source("input.around_class=1.0", "input.size=[16,16]")
    rows = [row for row in labelled(crops) if (crops.truth(row) == 1).any()]
    assert rows
    assert all((crops.sample(row, rng(seed))[1] == 1).any() for row in rows for seed in range(3))


def test_at_a_scale_slices_are_predicted_at_that_scale_and_come_back(source):
    crops = source("input.scale=0.5")
    row = labelled(crops)[0]
    native = crops.truth(row).shape[:2]
    assert crops.image(row).shape[:2] == scaled(native, 0.5)
    assert crops.sample(row, rng())[0].shape[:2] == (16, 24)
    ones = np.ones((*scaled(native, 0.5), 2), np.float32)
    assert np.array_equal(crops.preprocess.invert(ones, native), np.ones((*native, 2)))


def test_a_slice_smaller_than_its_crop_has_zeros_around_it(source):
    crops = source("input.size=[300,281]")
    row = labelled(crops)[0]
    height, width = crops.truth(row).shape[:2]
    image, mask = crops.sample(row, rng())
    top, left = (300 - height) // 2, (281 - width) // 2
    inside = np.s_[top : top + height, left : left + width]
    assert np.array_equal(image[inside], crops.image(row)) and np.array_equal(mask[inside], crops.truth(row))
    assert image.sum() == pytest.approx(image[inside].sum()) and mask.sum() == mask[inside].sum()
    assert IGNORE not in mask


def test_several_crops_of_a_slice_differ_and_each_is_the_same_again(source):
    crops = source()
    row, samples = labelled(crops)[0], TrainingSet(crops, None, seed=3)
    sampler = EpochSampler(np.arange(6), batch_size=4, seed=3, crops=3)
    batches = list(sampler)
    assert len(sampler) == len(batches) == 5 and [len(batch) for batch in batches] == [4, 4, 4, 4, 2]
    keys = [key for batch in batches for key in batch]
    assert sorted(keys) == sorted([(1, row) for row in range(6)] + [(1, row, n) for row in range(6) for n in (1, 2)])
    first, second = samples[(1, row)], samples[(1, row, 1)]
    assert not np.array_equal(first[0], second[0])
    assert np.array_equal(second[0], samples[(1, row, 1)][0]) and second[2] == row
    assert not np.array_equal(second[0], samples[(2, row, 1)][0]), "another epoch has other crops"


def test_with_one_crop_of_each_slice_the_order_is_that_of_whole_slices():
    rows = np.array([4, 9, 2, 7, 11])
    whole = EpochSampler(rows, batch_size=2, seed=1)
    order = np.random.Generator(np.random.PCG64(np.random.SeedSequence([1, 0, 1]))).permutation(rows)
    assert [key for batch in whole for key in batch] == [(1, int(row)) for row in order[:4]], "a last one of one is out"


def test_whole_slices_stay_what_they_were(session, recipe):
    experiment = session.experiment(recipe())
    source = make_source(recipe("input.store=off"), experiment.dataset, None, experiment.preprocess)
    assert not isinstance(source.preprocess, CropPreprocess)
    row = labelled(source)[0]
    image, mask = source.sample(row, rng())
    assert np.array_equal(image, source.image(row)) and np.array_equal(mask, source.mask(row))
