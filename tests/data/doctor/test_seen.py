"""What the doctor looks at."""

from __future__ import annotations


def test_columns_are_read_once_and_a_slice_may_have_a_class(data):
    data.masks[1][:] = 0
    seen = data.seen({0: "train"})
    assert seen.ids[:2] == ["s0_0", "s0_1"] and seen.scans[4] == "s1" and seen.cases[8] == "c1"
    assert seen.with_class(0) and not seen.with_class(1) and seen.sizes[0] == (48, 48) and seen.labelled[0]
