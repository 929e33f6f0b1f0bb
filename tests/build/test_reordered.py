"""A dataset with its classes in another order is the same in everything else."""

from __future__ import annotations

import numpy as np

from gisegkit.build.reordered import Reordered


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
