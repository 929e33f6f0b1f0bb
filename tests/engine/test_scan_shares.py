"""Shares of scans: each slice once, scans whole, and turns in the order of the scans."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.engine.scan_shares import BATCHES, Share, in_turns

NAMES = np.repeat(["a", "b", "c", "d", "e", "f"], [5, 1, 7, 3, 3, 9])


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_every_slice_is_in_one_share_and_every_scan_whole(processes, rounds):
    shares = [Share(number, processes, rounds) for number in range(processes)]
    own = [share.own(NAMES) for share in shares]
    assert sorted(np.concatenate(own).tolist()) == list(range(len(NAMES)))
    for name in set(NAMES):
        assert sum(name in NAMES[positions] for positions in own) == 1
    assert all((np.diff(positions) > 0).all() for positions in own), "in the order of prediction"


def test_turns_follow_each_other_and_go_round():
    turns = Share(1, 2, 3).turns(NAMES)
    assert [position for turn in turns for position in turn] == list(range(len(NAMES)))
    assert len(turns) == 6
    assert Share(1, 2, 3).own_turns(NAMES) == [turns[1], turns[3], turns[5]]


def test_one_round_gives_each_process_about_as_many_slices():
    names = np.repeat(np.arange(40), 10)
    assert [len(Share(number, 4).own(names)) for number in range(4)] == [100] * 4


def test_no_slices_are_no_work():
    assert Share(1, 3, 2).own(NAMES[:0]).tolist() == []
    assert [len(turn) for turn in Share(0, 3, 2).turns(NAMES[:0])] == [0] * 6


def test_few_slices_are_cut_once_and_many_so_that_a_turn_has_enough_batches():
    assert in_turns(40, processes=4, batch_size=16) == Share(0, 4, 1)
    assert in_turns(0, processes=2, batch_size=1) == Share(0, 2, 1)
    many = in_turns(38_496, processes=4, batch_size=16)
    assert 38_496 / (4 * many.rounds) >= BATCHES * 16
    assert many.rounds > 10
