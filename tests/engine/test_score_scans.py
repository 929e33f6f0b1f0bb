"""Scans are scored while they pass by: ignored pixels in no score, unlabelled scans refused."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest

from gisegkit.engine.decision import Scan
from gisegkit.engine.scoring import Scoreboard, score_scans
from gisegkit.errors import DataError
from gisegkit.types import IGNORE


class Count:
    convention = "pixels of the prediction and of the truth"
    higher_is_better = True

    def __call__(self, prediction, truth):
        return {
            "predicted": prediction.sum(axis=(1, 2)).astype(float),
            "true": truth.sum(axis=(1, 2)).astype(float),
        }

    def combine(self, means):
        return means["predicted"] / means["true"]


class Named:
    table = pd.DataFrame({"id": ["a0", "a1", "b0"], "case": ["one", "one", "two"]})


def scan(name, rows, truth):
    prediction = np.zeros((len(rows), 6, 8, 1), bool)
    prediction[:, :4] = True
    return Scan(name, rows, prediction, truth)


def truth(depth):
    mask = np.zeros((depth, 6, 8, 1), np.uint8)
    mask[:, 2:] = 1
    return mask


def test_scans_pass_through_and_are_scored():
    board = Scoreboard({"count": Count()}, ["square"])
    scans = [scan("a", [0, 1], truth(2)), scan("b", [2], truth(1))]
    assert list(score_scans(scans, board, Named())) == scans
    assert board.scores()["count/predicted"] == 32 and board.scores()["count/true"] == 32
    assert board.tables()["by_slice"][["case", "id"]].to_numpy().tolist() == [
        ["one", "a0"],
        ["one", "a1"],
        ["two", "b0"],
    ]
    assert board.tables()["by_scan"]["case"].unique().tolist() == ["one", "two"]


def test_a_scan_is_scored_while_the_next_one_is_made():
    """The first scan's score waits for the second scan, which only another thread can bring."""
    second, seen = threading.Event(), []

    class Patient(Count):
        def __call__(self, prediction, truth):
            assert second.wait(10)
            seen.append(threading.current_thread())
            return super().__call__(prediction, truth)

    def scans():
        yield scan("a", [0, 1], truth(2))
        second.set()
        yield scan("b", [2], truth(1))

    board, plain = Scoreboard({"count": Patient()}, ["square"]), Scoreboard({"count": Count()}, ["square"])
    assert [found.name for found in score_scans(scans(), board, Named(), threads=4)] == ["a", "b"]
    assert len(seen) == 2 and threading.main_thread() not in seen
    list(score_scans(scans(), plain, Named()))
    assert board.scores() == plain.scores()
    assert board.tables()["by_slice"].equals(plain.tables()["by_slice"])


def test_scans_are_scored_at_once_and_kept_in_order():
    """The first scan's score waits for the second one's, which only a second thread can begin."""
    second = threading.Event()

    class Patient(Count):
        def __call__(self, prediction, truth):
            if len(truth) == 1:
                second.set()
            assert second.wait(10)
            return super().__call__(prediction, truth)

    board = Scoreboard({"count": Patient()}, ["square"])
    scans = [scan("a", [0, 1], truth(2)), scan("b", [2], truth(1))]
    assert list(score_scans(scans, board, Named(), threads=2)) == scans
    assert board.tables()["by_scan"]["scan"].unique().tolist() == ["a", "b"]


def test_ignored_pixels_count_in_no_score():
    mask = truth(2)
    mask[:, :, :3] = IGNORE
    board = Scoreboard({"count": Count()}, ["square"])
    list(score_scans([scan("a", [0, 1], mask)], board, Named()))
    assert board.scores()["count/true"] == 4 * 5
    assert board.scores()["count/predicted"] == 4 * 5


def test_unlabelled_scans_cannot_be_scored():
    board = Scoreboard({"count": Count()}, ["square"])
    with pytest.raises(DataError, match="scan b"):
        list(score_scans([scan("a", [0, 1], truth(2)), scan("b", [2], None)], board, Named()))
