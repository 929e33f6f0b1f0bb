"""Predicted slices and kept probabilities on their way to process 0; workflows/test_helping.py has whole commands."""

from __future__ import annotations

import io
import tempfile
from collections import deque

import numpy as np
import pytest

from gisegkit.build import sharing
from gisegkit.build.sharing import _gathered, _waiting, give_kept, own_share, packed, rows_of, take_kept, unpacked
from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter
from gisegkit.engine.decision import DecidedSlice
from gisegkit.engine.scan_shares import Share
from gisegkit.engine.world import World
from gisegkit.errors import RunError


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


def decided(row):
    values = np.random.default_rng(row).random((5, 7, 2), dtype=np.float32)
    return DecidedSlice(f"s{row // 2}", row, values > 0.5, None, values)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_process_0_takes_the_turns_of_all_in_the_order_of_the_slices(rounds):
    turns = Share(0, 3, rounds).turns(np.repeat([f"s{number}" for number in range(8)], 2))
    world = Line()
    for rank in (1, 2):
        world.lines[rank].extend(packed(decided(row), frozenset()) for turn in turns[rank::3] for row in turn)
    own = (decided(row) for turn in turns[0::3] for row in turn)
    found = list(_gathered(own, turns, world))
    assert [item.row for item in found] == list(range(16)) and not any(world.lines.values())
    assert all(np.array_equal(item.probabilities, decided(item.row).probabilities) for item in found)


@pytest.mark.parametrize("limit", [1, 1 << 20])
def test_slices_that_wait_are_in_memory_or_in_a_file(monkeypatch, limit):
    monkeypatch.setattr(sharing, "IN_MEMORY", limit)
    taken = []
    found = (taken.append(row) or decided(row) for row in range(6))
    messages = _waiting(found, 4, frozenset())
    assert next(messages) == packed(decided(0), frozenset()) and taken == [0, 1, 2, 3]
    assert [unpacked(message).row for message in messages] == [1, 2, 3]


def test_a_temporary_folder_without_room_is_named_and_errors_of_the_data_are_none_of_it(monkeypatch):
    class Full(io.BytesIO):
        def __init__(self, **_):
            super().__init__()

        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    with pytest.raises(RunError, match=r"cannot wait in .* until process 0 takes them .*No space left.*TMPDIR"):
        list(_waiting(iter([decided(0)]), 1, frozenset()))

    def broken():
        raise FileNotFoundError("a slice is gone")
        yield

    with pytest.raises(FileNotFoundError, match="a slice is gone"):
        list(_waiting(broken(), 1, frozenset()))


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
