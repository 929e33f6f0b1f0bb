"""What names of files tell: scans of two cases, and pairs that do not pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from gisegkit.data.names import arrange, examples, misfit, pattern_of, two_endings
from gisegkit.errors import DataError

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
