"""The table of a ranking: what is undefined is an empty cell, and why is said."""

from __future__ import annotations

import csv
import io
import math

from gisegkit.engine.bootstrap import Interval
from gisegkit.workflows.comparison import Comparison
from gisegkit.workflows.ranking import Ranking, Standing
from gisegkit.workflows.ranking_table import as_csv, as_rows

NONE = Interval(math.nan, math.nan, math.nan)


def ranking(*rows):
    return Ranking("dice", "a mean", True, False, "a", rows, ())


def test_a_row_that_cannot_be_compared_says_why_and_leaves_its_numbers_empty():
    first = Standing("a", (), 1, 8, Interval(0.5, 0.4, 0.6), (0.5,))
    other = Standing("b", (), 2, 8, Interval(0.25, 0.2, 0.3), (0.2, 0.3), unlike="they were scored on different data")
    rows = as_rows(ranking(first, other))
    assert [row["verdict"] for row in rows] == ["the others are compared with it", "they were scored on different data"]
    line = list(csv.DictReader(io.StringIO(as_csv(ranking(first, other)))))[1]
    assert line["difference"] == line["difference_low"] == line["p"] == line["p_adjusted"] == ""
    assert (line["score"], line["lowest_seed"], line["highest_seed"]) == ("0.25", "0.2", "0.3")


def test_a_metric_that_is_nan_leaves_empty_cells():
    item = Comparison(8, math.nan, 0.5, NONE, math.nan, math.nan, verdict="no difference shown: too few")
    first = Standing("a", (), 1, 8, Interval(0.5, 0.4, 0.6), (0.5,))
    text = as_csv(ranking(first, Standing("b", (), 1, 8, NONE, (math.nan,), comparison=item)))
    line = list(csv.DictReader(io.StringIO(text)))[1]
    assert line["score"] == line["low"] == line["lowest_seed"] == line["difference"] == "" and "nan" not in text
    assert line["verdict"] == "no difference shown: too few"
