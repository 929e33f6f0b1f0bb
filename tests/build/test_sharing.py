"""Predicted slices and kept probabilities on their way to process 0; workflows/test_helping.py has whole commands."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from gisegkit.build.sharing import give_kept, own_share, packed, rows_of, take_kept, unpacked
from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter
from gisegkit.engine.decision import DecidedSlice
from gisegkit.engine.scan_shares import Share
from gisegkit.engine.world import World


@pytest.mark.parametrize("shape", [(5, 7, 3), (8, 8, 1), (1, 1, 2)])
@pytest.mark.parametrize("chosen", [True, False])
def test_a_slice_arrives_as_it_was_sent(shape, chosen):
    rng = np.random.default_rng(0)
    masks, truth = rng.random(shape) > 0.5, rng.choice(np.uint8([0, 1, 255]), shape)
    probabilities = rng.random(shape, dtype=np.float32)
    found = unpacked(packed(DecidedSlice("s", 4, masks, truth, probabilities), frozenset([4] if chosen else [])))
    assert (found.scan, found.row) == ("s", 4) and found.prediction.dtype == bool
    assert np.array_equal(found.prediction, masks) and np.array_equal(found.probabilities, probabilities)
    assert np.array_equal(found.truth, truth) if chosen else found.truth is None


class Line(World):
    """Process 0 of three; the others have given what is in the lines."""

    size = 3

    def __init__(self):
        self.lines = {1: deque(), 2: deque()}
        self.giving = 1

    def give(self, message):
        self.lines[self.giving].append(message)

    def take(self, source):
        return self.lines[source].popleft()


def write(writer, rng, scan, depth):
    writer.begin(scan, depth=depth, size=(4, 6))
    for number in range(depth):
        writer.write(f"{scan}_{number}", rng.random((4, 6, 2), dtype=np.float32))


def test_kept_probabilities_are_put_behind_those_of_process_0(tmp_path):
    """Equal to the bytes that one process writes; process 2 had nothing to predict."""
    made = {"classes": ("a", "b"), "exclusive": False}
    rng = np.random.default_rng(1)
    with ProbabilityWriter(tmp_path / "whole", **made) as whole:
        for scan, depth in (("s0", 2), ("s1", 1), ("s2", 3)):
            write(whole, rng, scan, depth)
    rng = np.random.default_rng(1)
    world = Line()
    with ProbabilityWriter(tmp_path / "own", **made) as own:
        write(own, rng, "s0", 2)
        with ProbabilityWriter(tmp_path / "other", **made) as other:
            write(other, rng, "s1", 1)
            write(other, rng, "s2", 3)
        give_kept(world, tmp_path / "other")
        world.giving = 2
        with ProbabilityWriter(tmp_path / "none", **made):
            pass
        give_kept(world, tmp_path / "none")
        take_kept(world, own)
    with ProbabilityReader(tmp_path / "whole") as first, ProbabilityReader(tmp_path / "own") as second:
        assert first.scans == second.scans
        for scan in first.scans:
            pairs = zip(first.slices(scan), second.slices(scan), strict=True)
            assert all(a == b and np.array_equal(x, y) for (a, x), (b, y) in pairs)
    assert not any(world.lines.values())


def test_shares_of_rows_are_whole_scans_that_make_all(session, recipe):
    experiment = session.experiment(recipe())
    rows = np.flatnonzero(experiment.dataset.table["labelled"])[::-1]
    parts = [rows_of(experiment, rows, Share(number, 2, 2)) for number in range(2)]
    assert sorted(np.concatenate(parts).tolist()) == sorted(rows.tolist())
    scans = [set(experiment.dataset.table["scan"].iloc[part]) for part in parts]
    assert all(scans) and not scans[0] & scans[1]
    world = Line()
    world.rank = 2
    assert own_share(world) == Share(2, 3)
