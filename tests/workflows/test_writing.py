"""What writers are told of slices."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd

from gisegkit.workflows.writing import slice_facts


def test_slices_come_in_the_order_of_the_table_with_their_place_in_the_scan():
    table = pd.DataFrame(
        {
            "id": list("abcde"),
            "scan": ["s", "s", "s", "t", "t"],
            "position": [1, 4, 5, 2, 3],
            "case": ["p", "p", "p", "q", "q"],
            "height": [3, 3, 3, 5, 5],
            "width": 7,
            "spacing_z": [2.0, 2.0, 2.0, 3.0, 3.0],
        }
    )
    found = list(slice_facts(SimpleNamespace(table=table), [4, 2, 0]))
    told = [(item.id, item.scan, item.position, item.case, item.height, item.index, item.depth) for item in found]
    assert told == [("a", "s", 1, "p", 3, 0, 2), ("c", "s", 5, "p", 3, 1, 2), ("e", "t", 3, "q", 5, 0, 1)]
    assert [item.spacing for item in found] == [{"spacing_z": 2.0}, {"spacing_z": 2.0}, {"spacing_z": 3.0}]
    assert all(type(item.position) is int and item.width == 7 for item in found)
