"""Slices without neighbors are found as the reader finds its channels, and told where nobody would see them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from gisegkit.components.normalizations import Unchanged
from gisegkit.data.neighbors import lonely, neighbor_warnings
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader


class Slices:
    """A dataset of a table alone."""

    def __init__(self, *scans):
        rows = [(f"s{v}_{p}", f"s{v}", p) for v, scan in enumerate(scans) for p in scan]
        self.table = pd.DataFrame(rows, columns=["id", "scan", "position"])


SCANS = ([1, 2, 3], [1], [1, 3, 5], [2, 6, 10, 11], [0, 100])


@pytest.mark.parametrize(
    ("slices", "stride", "edge"), [*itertools.product((1, 3, 5), (1, 2, 3, 4), ("clamp", "zero")), (3, 50, "clamp")]
)
def test_equals_what_the_reader_puts_in_its_stacks(slices, stride, edge):
    dataset = Slices(*SCANS)
    reader = SliceReader(dataset, slices=slices, stride=stride, edge=edge, preprocess=Preprocess(Unchanged()))
    alone = [slices > 1 and set(reader.neighbors(row)) <= {row, None} for row in range(len(dataset.table))]
    assert lonely(dataset.table, slices=slices, stride=stride, edge=edge).tolist() == alone


def said(*scans, **settings):
    return list(neighbor_warnings(Slices(*scans).table, **({"slices": 3, "stride": 1, "edge": "clamp"} | settings)))


def test_what_is_told():
    assert said([1, 2, 3], [1, 2]) == []
    assert said([1], [1], slices=1) == []
    every, hint = said([1], [1], [1])
    assert "input.slices = 3, but no slice has a neighbor" in every and "3 copies of one slice" in every
    assert "dataset.pattern" in hint and "input.slices = 1" in hint
    (some,) = said([1, 2, 3], [7], edge="zero")
    assert "1 of 4 slices have no neighbor at a distance of 1" in some
    assert "'s1_7' first" in some and "the other channels are zero" in some
    (gaps,) = said([0, 4, 8], [0, 4], slices=5)
    assert "no scan has two slices at a distance of 1 to 2" in gaps


def test_a_table_of_the_competitions_size():
    rows = 40_000
    table = pd.DataFrame({"id": np.arange(rows).astype(str), "scan": [f"v{i // 100:04d}" for i in range(rows)]})
    table["position"] = np.arange(rows) % 100
    assert not lonely(table, slices=5, stride=2, edge="zero").any()
