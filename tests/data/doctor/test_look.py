"""Slices read for the doctor."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.data.doctor.look import look_at, refuse_slices, unreadable
from gisegkit.data.findings import FindingsError
from gisegkit.errors import ComponentError, DataError


@pytest.mark.parametrize("threads", [False, True])
def test_everything_that_cannot_be_read_is_found(data, threads):
    if threads:
        data.root, data.sources = ".", lambda row: ([], "")
    whole = data.image

    def image(row):
        if row in (2, 5):
            raise DataError(f"{row}.png: is cut off")
        return whole(row).astype(np.float32) * (np.nan if row == 7 else 1)

    data.image, data.masks[3] = image, np.zeros((9, 9, 2), np.uint8)
    facts, findings = look_at(data, range(16))
    assert sorted(facts) == [row for row in range(16) if row not in (2, 3, 5)]
    assert [finding.ids for finding in findings] == [("s0_2",), ("s0_3",), ("s1_1",), ("s1_3",)]
    assert findings[0].what == "2.png: is cut off" and "the table of" in findings[1].what
    assert findings[3].kind == "values that are not finite" and "2304 of 2304 values are not finite" in findings[3].what


def test_a_reader_of_a_plugin_that_fails_is_no_fault_of_the_data(data):
    data.image = lambda row: 1 / 0
    with pytest.raises(ComponentError, match="ZeroDivisionError for slice s0_0"):
        look_at(data, [0])


def test_twenty_are_named_and_all_are_held():
    findings = [finding for number in range(25) for finding in unreadable(f"s{number}", f"file {number}\nand more")]
    with pytest.raises(FindingsError, match=r"file 0\n") as caught:
        refuse_slices(findings, [])
    assert str(caught.value).count("\n") == 21 and "... and 6 more" in str(caught.value)
    assert len(caught.value.findings) == 50
    refuse_slices([], [])
