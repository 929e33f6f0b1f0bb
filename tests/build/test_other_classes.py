"""A dataset with its classes in another order, or without its masks, is the same in everything else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gisegkit.build.other_classes import Reordered, Unmasked


class Data:
    classes = ("a", "b", "c")
    exclusive = True
    table = "the table"

    def image(self, row):
        return np.full((2, 2), row)

    def mask(self, row):
        return np.arange(12, dtype=np.uint8).reshape(2, 2, 3) + row


def test_classes_and_masks_are_turned_round_together():
    data, turned = Data(), Reordered(Data(), [2, 0, 1])
    assert turned.classes == ("c", "a", "b") and turned.exclusive and turned.table == "the table"
    assert (turned.image(7) == 7).all()
    for at, name in enumerate(turned.classes):
        assert (turned.mask(1)[..., at] == data.mask(1)[..., data.classes.index(name)]).all()
    assert turned.mask(1).flags.c_contiguous


class Pictures:
    classes = ("a", "b")
    root = "data"
    table = pd.DataFrame({"id": ["x", "y"], "height": [3, 5], "width": [4, 6]})

    def image(self, row):
        return np.full((3 + 2 * row, 4 + 2 * row), row)

    def sources(self, row):
        return [f"{row}.png"]


def test_slices_are_the_same_and_masks_are_empty_for_other_classes():
    dataset = Unmasked(Pictures(), ("b", "c", "a"))
    assert dataset.classes == ("b", "c", "a")
    assert dataset.table is Pictures.table
    assert np.array_equal(dataset.image(1), Pictures().image(1))
    mask = dataset.mask(1)
    assert mask.shape == (5, 6, 3) and mask.dtype == np.uint8 and not mask.any()


def test_no_store_takes_its_masks_for_those_of_the_dataset():
    dataset = Unmasked(Pictures(), ("a",))
    assert dataset.root == "data" and not hasattr(dataset, "sources")
