"""Rows and slices that do not fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gisegkit.components.datasets.uwmgi_rows import direction_findings, row_findings

TABLE = pd.DataFrame(
    {
        "id": [f"case1_day{scan}_slice_000{k}" for scan in range(2) for k in range(3)],
        "scan": [f"case1_day{scan}" for scan in range(2) for _ in range(3)],
        "path": "train/x.png",
        "height": 20,
        "width": 30,
    }
)
NONE = pd.Series([], dtype=str)


def found(runs, known, without=NONE):
    runs = np.array(runs, dtype=object)
    findings = row_findings(TABLE, runs, np.array(known, dtype=bool), file=Path("train.csv"), without_file=without)
    return [(finding.kind, finding.severity, finding.place) for finding in findings]


WHOLE = [["1 2", ""]] * 6


def test_a_whole_table_and_one_that_lacks_a_scan():
    assert found(WHOLE, [[1, 1]] * 6) == []
    assert found(WHOLE, [[1, 1]] * 3 + [[0, 0]] * 3) == [("slices without rows", "warning", "case1_day1")]
    lonely = pd.Series(["case7_day0_slice_0001", "case7_day0_slice_0002"])
    assert found(WHOLE, [[1, 1]] * 6, lonely) == [("rows without a slice", "warning", "case7_day0")]


def test_one_row_that_is_missing_is_an_error_of_its_slice():
    assert found(WHOLE, [[1, 0]] + [[1, 1]] * 5) == [
        ("rows missing for some class", "error", "case1_day0_slice_0000"),
    ]


def test_rows_that_were_dropped_are_one_error():
    assert found(WHOLE, [[1, 0]] * 6) == [("rows of empty masks dropped", "error", "train.csv")]
    full = [["1 2", "1 2"]] * 6
    assert found(full, [[1, 1]] * 6) == [], "every class in every slice"
    assert found(full, [[1, 1]] * 4 + [[0, 0]] * 2) == [("rows of empty masks dropped", "error", "train.csv")]


def test_directions():
    stripes = np.array([["62 5 82 5 102 5 122 5 142 5", ""]] * 6, dtype=object)  # 5 x 5 pixels along columns of 20
    (finding,) = direction_findings(TABLE, stripes, ("a", "b"), file=Path("train.csv"))
    assert finding.severity == "error" and "6 of 6 masks that were looked at" in finding.what
    square = np.array([["62 5 92 5 122 5 152 5 182 5", ""]] * 6, dtype=object)  # the same along rows of 30
    assert list(direction_findings(TABLE, square, ("a", "b"), file=Path("train.csv"))) == []
