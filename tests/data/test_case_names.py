"""Cases that names look like where nobody named them: they are told with the template or pattern that fits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gisegkit.data.case_names import case_notes, likely_cases
from gisegkit.data.names import arrange, pattern_of


def grid(form, *counts):
    """The form filled with every combination of numbers below the counts."""
    names = [()]
    for count in counts:
        names = [(*name, number) for name in names for number in range(count)]
    return [form.format(*name) for name in names]


@pytest.mark.parametrize(
    ("names", "cases", "scans"),
    [
        (grid("p{:02}_{}", 8, 3), ("p00", "p07"), 8),
        (grid("patient{:02}_slice{:03}", 4, 4), ("patient00", "patient03"), 4),
        (grid("scan{}_{:03}", 2, 12), ("scan0", "scan1"), 2),
        (grid("case_{:03}_{:04}", 3, 2), ("case_000", "case_002"), 3),
        (grid("case{}_day{}_slice_{:02}", 12, 2, 3), ("case0", "case11"), 24),
        (grid("MR {}.{}-{}", 2, 2, 2), ("MR 0", "MR 1"), 4),
        (grid("patient{}slice{:03}", 4, 4), ("patient0", "patient3"), 4),
        (grid("1{}(a)+$_{}", 3, 3), ("10(a)+$", "12(a)+$"), 3),
    ],
)
def test_names_that_look_like_cases_get_a_pattern_that_fits(names, cases, scans):
    found = likely_cases(names)
    assert (found.names[0], found.names[-1]) == cases
    table = arrange({name: Path(name) for name in names}, found.pattern)
    assert sorted(table["id"]) == sorted(names)
    assert sorted(table["case"].unique()) == sorted(found.names)
    assert table["scan"].nunique() == scans
    (note,) = case_notes(names)
    assert f"{len(found.names)} cases ({cases[0]} ... {cases[1]})" in note
    key, value = re.search(r"dataset\.(\w+) = '(.*)'$", note).groups()
    assert (key == "names") == (scans == len(found.names)) and "'" not in value
    told = arrange({name: Path(name) for name in names}, pattern_of(value) if key == "names" else value)
    assert told.equals(table)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a"],
        grid("{}", 20),
        grid("image_{:04}", 30),  # one series, which may be anything
        [*grid("benign ({})", 5), *grid("malignant ({})", 5)],  # kinds, not cases
        grid("case_{:03}_0000", 10),  # one image each
        ["a1b2", "a1c3", "a2b1", "a2c1"],
        ["p0_1", "p0_2", "p1_1", "p1_2", "overview"],
        ["p0_a", "p0_b", "p1_a", "p1_b"],
        ["p0_1", "p0_01", "p1_1", "p1_2"],  # a position twice
    ],
)
def test_other_names_are_left_alone(names):
    assert likely_cases(names) is None and case_notes(names) == ()
