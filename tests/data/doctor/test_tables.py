"""What a table tells."""

from __future__ import annotations

import pytest

from gisegkit.data.doctor.tables import missing_numbers, split_findings, table_findings


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([1, 2, 3, 5, 6], [4]),
        ([0, 2, 4, 8, 10], [6]),
        ([1, 2, 3, 4], []),
        ([10, 20, 30, 40, 50], []),  # every tenth
        ([5, 9, 30, 31, 70], []),  # a choice
        ([1, 3], []),
        ([1, 2, 3, 4, 5, 9, 10, 11, 12, 13], [6, 7, 8]),
    ],
)
def test_missing_numbers(numbers, missing):
    assert missing_numbers(numbers) == missing


def test_a_gap_is_told_unless_the_slice_is_left_out(data, told):
    assert list(table_findings(data.table)) == []
    table = data.table.assign(position=[0, 1, 2, 3, 0, 1, 2, 4, *[0, 1, 2, 3] * 2])
    table = table.drop(index=1).reset_index(drop=True)  # three are left of that scan: too few
    table.loc[len(table)] = table.iloc[5].replace({"s1_2": "s1_9"}).to_dict() | {"position": 5}
    (finding,) = table_findings(table)
    assert told([finding]) == [("missing slice numbers", "warning", "s1")]
    assert finding.what == "slices 0 to 5, without 3"
    assert list(table_findings(table, left_out={"s1": {3}})) == []


@pytest.mark.parametrize("pair", [("P1", "p1"), ("p1", "p01"), ("p1", "p 1")])
def test_cases_that_may_be_one(data, told, pair):
    cases = sorted(set(data.table["case"]))[:2]
    table = data.table.assign(case=data.table["case"].replace(dict(zip(cases, pair, strict=True))))
    place = " and ".join(map(repr, pair))
    assert told(table_findings(table)) == [("cases that may be one", "warning", place)]


def test_spacing_that_differs(data, told):
    table = data.table.assign(spacing_y=1.5, spacing_x=1.5)
    assert list(table_findings(table)) == []
    table.loc[5, "spacing_y"] = 1.6
    (finding,) = table_findings(table)
    assert told([finding]) == [("spacing within a scan", "warning", "s1")]
    assert "1.5 x 1.5 and 1.6 x 1.5 mm; first: s1_1" in finding.what
    table = data.table.assign(spacing_x=[*[1.5] * 12, *[0.15] * 4])
    assert told(table_findings(table)) == [("spacing", "warning", "s3")]


def test_cases_on_both_sides(data, told):
    apart = dict.fromkeys(range(8), "train") | dict.fromkeys(range(8, 16), "validation")
    assert list(split_findings(data.table, apart)) == []
    (finding,) = split_findings(data.table, apart | {0: "validation"})
    assert told([finding]) == [("case on both sides", "warning", "split")] and "1 case is" in finding.what
    assert 'split.group = "case"' in finding.remedy
    (given,) = split_findings(data.table, apart | {0: "validation"}, given=True)
    assert "in the column split" in given.remedy and "split.group" not in given.remedy
