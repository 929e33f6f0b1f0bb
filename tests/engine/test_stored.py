"""Kept probabilities come back as a prediction would give them: at native size, with the truth, as a weighted mean."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest

from gisegkit.components.normalizations import Maximum
from gisegkit.data.geometry import Stretch
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities
from gisegkit.engine.stored import Stored, kept_scans, mean, stored_scans
from gisegkit.errors import RunError

TABLE = pd.DataFrame(
    {"id": ["a0", "a1", "a2", "b0", "b1"], "scan": ["a", "a", "a", "b", "b"], "labelled": [True] * 4 + [False]}
)
NATIVE = (6, 8)


class Source:
    """Slices of 6 x 8 pixels, and a network that sees them at another size."""

    def __init__(self, size):
        self.size = size
        self.dataset = type("Data", (), {"table": TABLE})
        self.preprocess = Preprocess(Maximum(), size)

    def native(self, row):
        return NATIVE

    def truth(self, row):
        return np.full((*NATIVE, 2), row % 2, np.uint8)


def values(row, size, seed=0):
    return np.random.default_rng([row, seed]).random((*size, 2)).astype(np.float32)


def predicted(rows, size, seed=0):
    for scan in dict.fromkeys(TABLE["scan"][rows]):
        own = [row for row in rows if TABLE["scan"][row] == scan]
        items = (SliceProbabilities(row, values(row, NATIVE), None, values(row, size, seed)) for row in own)
        yield ScanProbabilities(scan, own, items)


def keep(path, rows, size, seed=0, classes="xy"):
    with ProbabilityWriter(path, classes=classes, exclusive=False) as writer:
        for scan in kept_scans(predicted(rows, size, seed), writer, TABLE):
            next(iter(scan), None)  # whoever listens may leave the rest: it is kept all the same
    return path


@pytest.fixture
def opened(tmp_path):
    with ExitStack() as stack:
        yield lambda *keys, **more: stack.enter_context(ProbabilityReader(keep(tmp_path / keys[0], *keys[1:], **more)))


def test_scans_of_several_files_come_in_order_at_native_size_with_their_truth(opened):
    size = (4, 4)
    files = opened("f0", [1, 3, 4], size), opened("f1", [0, 2], size)  # a scan that is torn between two folds
    found = [(scan.name, list(scan)) for scan in stored_scans([Stored(files, Source(size))], [4, 2, 1, 0, 3])]
    assert [(name, [item.row for item in items]) for name, items in found] == [("a", [0, 1, 2]), ("b", [3, 4])]
    for name, items in found:
        for item in items:
            wanted = Stretch(NATIVE, size).invert((np.rint(values(item.row, size) * 255) / 255).astype(np.float32))
            assert np.allclose(item.values, wanted, atol=1e-6) and item.values.shape == (*NATIVE, 2)
            assert (item.truth is None) == (name == "b")  # one slice of scan b has no label
            assert item.truth is None or (item.truth == item.row % 2).all()


def test_a_part_of_the_rows_skips_the_others(opened):
    run = Stored((opened("f", [0, 1, 2, 3, 4], (4, 4)),), Source((4, 4)))
    assert [item.row for scan in stored_scans([run], [2, 4]) for item in scan] == [2, 4]


@pytest.mark.parametrize("threads", [0, 2])
def test_runs_of_other_sizes_and_orders_of_classes_give_the_weighted_mean(opened, threads):
    first = Stored((opened("f", [0, 1], (4, 4)),), Source((4, 4)), 3.0, (0, 1))
    other = Stored((opened("g", [0, 1], (3, 8), seed=1, classes="yx"),), Source((3, 8)), 1.0, (1, 0))
    for scan in stored_scans([first, other], [0, 1], threads=threads):
        for item in scan:
            one, two = (
                Stretch(NATIVE, size).invert((np.rint(values(item.row, size, seed) * 255) / 255).astype(np.float32))
                for seed, size in enumerate([(4, 4), (3, 8)])
            )
            assert np.allclose(item.values, 0.75 * one + 0.25 * two[..., ::-1], atol=1e-6)


def test_a_slice_that_is_nowhere_is_named(opened):
    run = Stored((opened("f", [0, 1], (4, 4)),), Source((4, 4)))
    with pytest.raises(RunError, match=r"slice a2 is not in .*f; remove"):
        [list(scan) for scan in stored_scans([run], [0, 2])]


def test_slices_in_another_order_than_the_data_are_refused(tmp_path):
    with ProbabilityWriter(tmp_path / "p", classes="xy", exclusive=False) as writer:
        writer.begin("a", depth=2, size=(4, 4))
        for name in ("a1", "a0"):
            writer.write(name, values(0, (4, 4)))
    with ProbabilityReader(tmp_path / "p") as reader, pytest.raises(RunError, match="a1 at another place of scan a"):
        [list(scan) for scan in stored_scans([Stored((reader,), Source((4, 4)))], [0, 1])]


def test_what_was_predicted_without_the_networks_size_cannot_be_kept(tmp_path):
    scan = ScanProbabilities("a", [0], iter([SliceProbabilities(0, values(0, NATIVE), None)]))
    writer = ProbabilityWriter(tmp_path / "p", classes="xy", exclusive=False)
    with pytest.raises(RuntimeError, match="sized"):
        list(kept_scans((one for one in [scan]), writer, TABLE))


def test_a_mean_stays_a_probability_and_one_array_stays_itself():
    ones = [np.ones((2, 2), np.float32)] * 7
    assert mean(ones, [0.1] * 7).max() <= 1
    assert mean(ones[:1], [0.3]) is ones[0]
