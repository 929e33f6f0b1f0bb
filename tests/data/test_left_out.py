"""A dataset without some slices, and the list that says which."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisegkit.components.datasets.phantom import Phantom
from gisegkit.data.left_out import Without, read_exclusions, write_exclusions
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store
from gisegkit.errors import DataError, Finding, RunError
from gisegkit.testing import check_dataset


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return Phantom(cases=2, days=1, slices=16, test_cases=0, cache=str(tmp_path_factory.mktemp("cache")))


def test_a_view_is_a_dataset_and_says_what_it_lacks(phantom):
    gone = phantom.table["id"][[1, 20]].tolist()
    view = Without(phantom, dict.fromkeys([*gone, "nobody"], "list.csv"))
    check_dataset(view)
    assert len(view.table) == 30 and view.left_out == tuple(gone) and view.table.index.tolist() == list(range(30))
    assert [(item.reason, item.slices) for item in view.dropped] == [("list.csv", 2)]
    assert np.array_equal(view.image(1), phantom.image(2)) and np.array_equal(view.mask(19), phantom.mask(21))
    assert view.sources(1) == phantom.sources(2)
    inner = Without(view, {view.table["id"].iat[0]: "bad"})
    assert inner.left_out == (*gone, phantom.table["id"].iat[0]) and len(inner.dropped) == 2


def test_what_a_dataset_says_of_its_split_is_kept():
    class Given:
        table = pd.DataFrame({"id": ["a", "b", "c"]})
        classes, exclusive, dropped = ("x",), False, ()
        parts = pd.DataFrame({"id": ["a", "b", "c"], "part": ["train", "test", "validation"]})

    view = Without(Without(Given(), {"a": "list"}), {"c": "bad"})
    assert view.parts is not None and view.parts.to_numpy().tolist() == [["b", "test"]]
    Given.parts = None
    assert Without(Given(), {"a": "list"}).parts is None


def test_scans_that_lack_nothing_stay_prepared(phantom, tmp_path):
    def store(dataset):
        return Store(dataset, name="p", layout=Layout(), home=tmp_path)

    assert store(phantom).prepare(range(32)).made == 32
    view = Without(phantom, {phantom.table["id"].iat[1]: "list.csv"})
    assert store(view).prepare(range(31)).made == 15, "the scan that lacks one"


def test_findings_that_the_left_out_slices_explain_are_gone():
    class Found:
        table = pd.DataFrame({"id": ["a", "b"]})
        classes, exclusive, dropped = ("x",), False, ()

        def findings(self):
            yield Finding("bad", "error", "a", "is bad", ids=("a",))
            yield Finding("bad", "error", "a, b", "are bad", ids=("a", "b"))
            yield Finding("odd", "warning", "all", "are odd")

    assert [finding.place for finding in Without(Found(), {"a": "list"}).findings()] == ["a, b", "all"]


def test_a_list_is_written_and_read(tmp_path):
    findings = [
        Finding("odd", "warning", "s0", "is odd", ids=("s0",)),
        Finding("copied, scan", "error", "scan v", 'is "the same"', ids=("s1", "s2")),
        Finding("bad", "error", "s2", "is bad", ids=("s2",)),
    ]
    file = tmp_path / "list.csv"
    assert write_exclusions(file, findings) == 2
    assert file.read_text().splitlines() == [
        "id,kind,reason",
        's1,"copied, scan","scan v: is ""the same"""',
        's2,"copied, scan","scan v: is ""the same"""',
    ]
    assert read_exclusions(file) == {"s1": "list.csv", "s2": "list.csv"}


def test_lists_that_are_none(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_exclusions(tmp_path / "none.csv")
    (tmp_path / "list.csv").write_text("name\na\n")
    with pytest.raises(DataError, match="no column 'id'"):
        read_exclusions(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("id,kind\na,x\n,x\n")
    with pytest.raises(DataError, match="line 3 has no id"):
        read_exclusions(tmp_path / "list.csv")
    with pytest.raises(RunError):
        write_exclusions(tmp_path / "list.csv" / "x.csv", [])
