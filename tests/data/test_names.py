"""What names of files tell: cases that nobody named, scans of two cases, and pairs that do not pair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gisegkit.data.names import arrange, case_notes, examples, likely_cases, misfit, pattern_of, two_endings
from gisegkit.errors import DataError


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
    assert re.search(r"dataset\.pattern = '(.*)'$", note)[1] == found.pattern and "'" not in found.pattern


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


# --- scans ---


SEPARATE = r"(?P<case>p\d+)_(?P<scan>s\d+)_(?P<position>\d+)"


def rows(names, pattern):
    return arrange({name: Path(name) for name in names}, pattern)[["id", "scan", "position", "case"]].values.tolist()


def test_scans_of_two_cases_stay_two_though_they_have_one_name():
    names = ["p1_s1_001", "p1_s1_002", "p2_s1_003", "p2_s1_004", "p2_s2_001"]
    assert [row[1] for row in rows(names, SEPARATE)] == ["p1/s1", "p1/s1", "p2/s1", "p2/s1", "p2/s2"]
    assert [row[1] for row in rows(names[:2], SEPARATE)] == ["p1/s1"] * 2  # whatever else the folder holds
    colliding = ["p1_s1_001", "p2_s1_001"]
    assert rows(colliding, SEPARATE) == [["p1_s1_001", "p1/s1", 1, "p1"], ["p2_s1_001", "p2/s1", 1, "p2"]]


def test_a_scan_that_holds_its_case_is_called_as_it_is():
    found = rows(["c1_d0_7", "c2_d0_7"], r"(?P<scan>(?P<case>c\d)_d\d)_(?P<position>\d)")
    assert [row[1] for row in found] == ["c1_d0", "c2_d0"]


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (["a1_1", "a2_1"], r"(?P<case>a)\d_(?P<position>\d)", r"a1_1 and a2_1 .*\(a, 1\); put what tells them apart"),
        (
            ["p1_s1_1x", "p1_s1_1y"], SEPARATE + ".",
            r"p1_s1_1x and p1_s1_1y the same scan and position \(p1/s1, 1\).*\(\?P<case>",
        ),
        (
            ["ab_1", "ab_2"], r"(?P<scan>(?:(?P<case>a)(?=b_1)|a)b)_(?P<position>\d)",
            r"slices of the cases a and ab into the scan ab; .*put the case into \(\?P<scan>",
        ),
    ],
)  # fmt: skip
def test_what_would_be_one_is_refused_with_the_remedy(names, pattern, message):
    with pytest.raises(DataError, match=message):
        rows(names, pattern)


# --- pairs ---


@pytest.mark.parametrize(
    ("some", "others", "ends"),
    [
        (["1_img", "2_img"], ["1_seg", "2_seg"], ("_img", "_seg")),
        (["10 image", "20 image", "30 image"], ["10 mask", "20 mask"], (" image", " mask")),
        (["1_img", "2_img"], ["3_seg", "4_seg"], ("", "")),
        (["1_img", "2_img"], ["1", "2"], ("", "")),
        (["1_img"], ["1_seg"], ("", "")),
        (["a_1", "b_1"], ["a_2", "b_2"], ("", "")),
    ],
)
def test_both_sides_have_an_ending(some, others, ends):
    assert two_endings(some, others) == ends


@pytest.mark.parametrize(
    ("plain", "longer", "words"),
    [
        (["p0", "p1", "p10"], ["p0_mask", "p1_mask", "p10_mask"], "end with '_mask'"),
        (["p0", "p1"], ["mask-p0", "mask-p1"], "begin with 'mask-'"),
        (["case_000", "case_001"], ["case_000_0000", "case_001_0000"], "end with '_0000'"),
        (["p0", "p1", "p2"], ["p0_m"], "end with '_m'"),
        (["p0"], ["p0_m", "p1_m"], "end with '_m'"),
        (["p0", "p1"], ["p0_a", "p1_b"], ""),
        (["p0"], ["q0"], ""),
        ([], ["p0_m"], ""),
    ],
)
def test_what_names_differ_by(plain, longer, words):
    place, rest = misfit(plain, longer)
    assert (f"{place} with {rest!r}" if rest else "") == words


def test_examples_are_the_first_in_natural_order():
    assert examples({"p10", "p9", "p1", "p2"}) == "p1, p2, p9 ..." and examples({"b", "a"}) == "a, b"


@pytest.mark.parametrize(
    ("template", "names", "said"),
    [
        ("{case}-{slice}", ["a_1"], r"dataset\.names = '\{case\}-\{slice\}' does not describe the name 'a_1'"),
        (
            "{case}_{slice}{}",
            ["a_1x", "a_1y"],
            r"dataset\.names = .* same scan and position .* into \{scan\} or \{case\}",
        ),
    ],
)
def test_messages_speak_of_the_template_that_was_written(template, names, said):
    with pytest.raises(DataError, match=said):
        arrange({name: Path(f"{name}.png") for name in names}, pattern_of(template), template=template)
