"""A split that the data give themselves: what trains and validates, and what it leaves no room for."""

from __future__ import annotations

import pandas as pd
import pytest

from gisegkit.data.given_split import given_note, given_rows
from gisegkit.errors import DataError, RunError

PARTS = pd.DataFrame({"id": list("abcdef"), "part": ["train", "train", "validation", "test", "unused", "unlabelled"]})
TABLE = pd.DataFrame(
    {"id": list("abcdef"), "labelled": [True] * 5 + [False], "empty": [False, True, True, False, False, False]}
)


@pytest.mark.parametrize(("subset", "train"), [("all", [0, 1]), ("annotated", [0])])
def test_what_trains_is_what_the_parts_name(subset, train):
    rows = given_rows(TABLE, PARTS, subset=subset, several=False)
    assert [one.tolist() for one in rows] == [train, [2]], "empty slices validate, whatever trains"


def test_there_are_no_folds_beside_it():
    with pytest.raises(DataError, match=r"column split of dataset\.table says .*set split\.fold = 0, or remove"):
        given_rows(TABLE, PARTS, subset="all", several=True)


def test_a_split_in_which_nothing_validates_is_refused():
    parts = PARTS.assign(part=PARTS["part"].replace("validation", "train"))
    with pytest.raises(DataError, match="no slice validates; write validation in the rows of some cases"):
        given_rows(TABLE, parts, subset="all", several=False)


def test_parts_of_other_slices_are_refused():
    with pytest.raises(RunError, match="not those"):
        given_rows(TABLE.iloc[1:], PARTS, subset="all", several=False)


def test_slices_that_do_neither_are_counted():
    assert "; 2 labelled slices do neither; [split] folds have no effect" in given_note(PARTS)
    assert "; 1 labelled slice does neither; " in given_note(PARTS.iloc[:4])
    assert given_note(PARTS.iloc[:3]).endswith("what validates; [split] folds have no effect")
