"""gisegkit.data.spacing: metrics in mm get the distances of the data, or a clear refusal before anything starts."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gisegkit.components.metrics.overlap_metrics import Dice
from gisegkit.components.metrics.surface_metrics import HD95
from gisegkit.data.spacing import refuse_unmeasured, spacing_at, spacing_for
from gisegkit.errors import DataError

MM = {"spacing_z": 3.0, "spacing_y": 1.5, "spacing_x": 1.25}


def table(**columns):
    return pd.DataFrame({"scan": ["a", "a", "b"], **columns})


def test_of_a_row_are_the_columns_that_are_there():
    assert spacing_at(table(spacing_x=[1.0, 1.0, 2.0], spacing_y=[3.0, 3.0, 4.0]), 2) == {
        "spacing_y": 4.0,
        "spacing_x": 2.0,
    }
    assert spacing_at(table(), 0) == {}


def test_a_metric_gets_what_it_declares_in_order():
    assert spacing_for("hd95", HD95(), MM, place="here") == {"spacing": (3.0, 1.5, 1.25)}
    assert spacing_for("hd95", HD95(unit="slice"), MM, place="here") == {"spacing": (1.5, 1.25)}
    assert spacing_for("dice", Dice(), {}, place="here") == {}


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, None])
def test_what_is_no_distance_is_refused_by_name(value):
    broken = {column: mm for column, mm in {**MM, "spacing_y": value}.items() if mm is not None}
    with pytest.raises(DataError, match="here: metric 'hd95' measures in mm, but the data do not tell spacing_y; "):
        spacing_for("hd95", HD95(), broken, place="here")


def test_a_set_is_checked_before_anything_starts():
    good = table(spacing_z=[3.0] * 3, spacing_y=[1.0, 1.0, 2.0], spacing_x=[1.0, 1.0, 2.0])
    refuse_unmeasured({"dice": Dice(), "hd95": HD95()}, good, place="here")  # scans may differ from one another
    refuse_unmeasured({"dice": Dice()}, table(), place="here")
    with pytest.raises(DataError, match="spacing_z, spacing_y, spacing_x"):
        refuse_unmeasured({"dice": Dice(), "hd95": HD95()}, table(), place="here")
    with pytest.raises(DataError, match="do not tell spacing_z;"):
        refuse_unmeasured({"hd95": HD95()}, good.drop(columns="spacing_z"), place="here")
    refuse_unmeasured({"hd95": HD95(unit="slice")}, good.drop(columns="spacing_z"), place="here")
    with pytest.raises(DataError, match="do not tell spacing_x;"):
        refuse_unmeasured({"hd95": HD95()}, good.assign(spacing_x=[1.0, math.nan, 2.0]), place="here")
    with pytest.raises(DataError, match="scan a has slices of different spacing"):
        refuse_unmeasured({"hd95": HD95()}, good.assign(spacing_x=[1.0, 1.1, 2.0]), place="here")
