"""Findings become lines, a verdict, or the end of a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from gisegkit.data.findings import (
    FileError,
    FindingsError,
    finding_of,
    findings_of,
    grouped,
    refuse_errors,
    verdict,
    warning_lines,
)  # fmt: skip
from gisegkit.errors import DataError, Finding


def finding(kind="odd", severity="warning", place="p0", ids=()):
    return Finding(kind, severity, place, f"is {kind}", "mend it", ids)


MANY = [finding(place=f"p{number}") for number in range(5)]


def test_one_line_a_kind_and_the_worst_first():
    groups = grouped([*MANY, finding("bad", "error", ids=("s1",)), MANY[0]])
    assert [str(group) for group in groups] == [
        "bad: p0: is bad; mend it",
        "odd (5): p0: is odd; also p1, p2 and 2 more; mend it",
    ]
    assert list(warning_lines(MANY)) == [f"warning: {groups[1]}"]


def test_a_line_names_each_place_once():
    found = [Finding("bad", "error", place, f"is {what}") for place in "aabb" for what in "xy"]
    assert str(grouped(found)[0]) == "bad (4): a: is x; also b"
    assert str(grouped(found[:2])[0]) == "bad (2): a: is x"


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([], "nothing found in x that would make training wrong"),
        (MANY, "5 warnings in x: look at them before training"),
        ([*MANY, finding("bad", "error")], "1 error, 5 warnings in x: training would be wrong"),
        ([finding(severity="note")], "nothing found in x that would make training wrong"),
    ],
)
def test_verdict(findings, text):
    assert verdict(findings, "x") == text


def test_errors_stop_all_together():
    refuse_errors(MANY)
    with pytest.raises(FindingsError) as caught:
        refuse_errors([*MANY, finding("bad", "error", ids=("s1",)), finding("worse", "error")])
    assert str(caught.value).splitlines() == [
        "bad: p0: is bad; mend it",
        "worse: p0: is worse; mend it",
        "2 errors in the data; giseg data lists them",
        'to train without these slices: [dataset] on_bad = "skip", or giseg data --fix LIST.csv',
    ]
    assert len(caught.value.findings) == 7


def test_an_older_plugin_yields_lines():
    class Older:
        def defects(self):
            yield "scan 3: is upside down"
            yield "no colon"

    class Newer:
        def findings(self):
            yield MANY[0]

    assert [(one.severity, one.place, one.what) for one in findings_of(Older())] == [
        ("warning", "scan 3", "is upside down"),
        ("warning", "data", "no colon"),
    ]
    assert findings_of(Newer()) == [MANY[0]] and findings_of(object()) == []


def test_an_error_becomes_a_finding():
    path = Path("a/b.png")
    found = finding_of(FileError("lossy mask", f"{path}: JPEG changes values; save as PNG; really"), path, ids=("b",))
    assert found == Finding("lossy mask", "error", "a/b.png", "JPEG changes values", "save as PNG; really", ("b",))
    assert finding_of(DataError("b: broken"), path).kind == "unreadable file"
