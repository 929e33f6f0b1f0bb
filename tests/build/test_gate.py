"""A gate as a live object: it looks at the slices once, and says what it sees."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.build.gate import Gate, refuse_zero
from gisegkit.engine.decision import DecidedSlice
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities
from gisegkit.errors import DataError
from gisegkit.runs.gates import StoredGate
from gisegkit.types import silent


class Sees:
    """A run with classes b, c and a, which sees as many pixels of a as the row's number, all of b, and none of c."""

    classes = ("b", "c", "a")

    def __init__(self):
        self.looks = 0

    def slices(self, rows, *, label, progress):
        self.looks += 1
        for row in rows:
            mask = np.zeros((2, 3, 3), bool)
            mask[..., 0] = True
            mask[..., 2].flat[: int(row)] = True
            yield DecidedSlice("s", int(row), mask, None)

    def release(self):
        self.released = True


def test_classes_are_matched_by_name_and_rows_are_looked_at_once():
    lines, whole = [], Sees()
    gate = Gate(StoredGate(None, "g", {"a": 2, "b": 6}, (), ""), whole, say=lines.append)
    gate._classes = ("a", "b")
    rows = np.array([1, 2, 3, 4])

    def predict():
        assert whole.released  # its networks are gone before others are loaded
        slices = [SliceProbabilities(int(row), np.full((2, 3, 2), 0.5, np.float32), None) for row in rows]
        yield ScanProbabilities("s", rows, iter(slices))

    for _ in range(2):
        found = {item.row: item.values for scan in gate.apply(predict, rows, progress=silent) for item in scan}
        assert {row: values.max((0, 1)).tolist() for row, values in found.items()} == {
            1: [0, 0],
            2: [0, 0],
            3: [0.5, 0],
            4: [0.5, 0],
        }
    assert whole.looks == 1 and lines == ["the gate g sees a in 2, b in 0 of 4 slices; elsewhere it empties them"]
    list(gate.apply(lambda: (scan for scan in ()), rows[:2], progress=silent))
    assert whole.looks == 2  # other slices may be seen by other networks


def test_a_threshold_of_zero_is_refused():
    stored = StoredGate(None, "g", {"a": 2}, (), "")
    refuse_zero((0.1, 1.0), stored)
    with pytest.raises(DataError, match="a threshold of 0 gives every pixel to the class"):
        refuse_zero((0.1, 0.0), stored)
