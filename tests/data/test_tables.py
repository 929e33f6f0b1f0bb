"""CSV as spreadsheets write it."""

from __future__ import annotations

import pytest

from gisegkit.data.tables import read_rows
from gisegkit.errors import DataError


def rows(tmp_path, text, **options):
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_rows(tmp_path / "t.csv", ("a", "b"), **options)
    return {line: tuple(values) for line, *values in table.itertuples(name=None)}


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n3,\n",
        "\ufeffa,b\r\n1,2\r\n3,\r\n",
        "a,b\n1,2\n3,\n\n\n",
        "a,b\n1,2\n3,\n,\n",
        "a,b,\n1,2,\n3,,\n",
        " a , b\n1,2\n3,\n",
        '"a","b"\n"1","2"\n"3",""',
    ],
)
def test_what_is_harmless_is_passed_over(tmp_path, text):
    assert rows(tmp_path, text) == {2: ("1", "2"), 3: ("3", "")}


def test_blank_lines_between(tmp_path):
    assert rows(tmp_path, "a,b\n1,2\n\n3,4\n")[3] == ("", "")
    assert rows(tmp_path, "a,b\n1,2\n\n3,4\n", skip_blanks=True) == {2: ("1", "2"), 4: ("3", "4")}
    assert rows(tmp_path, "a,b\n,2\n", skip_blanks=True) == {2: ("", "2")}


def test_names_of_columns_in_capitals_where_that_is_allowed(tmp_path):
    assert rows(tmp_path, "A,B\n1,2\n", any_case=("a", "b")) == {2: ("1", "2")}
    with pytest.raises(DataError, match="no column 'a', 'b'"):
        rows(tmp_path, "A,B\n1,2\n")


def test_blank_lines_at_the_start_count(tmp_path):
    assert rows(tmp_path, "\r\n\r\na,b\r\n1,2\r\n") == {4: ("1", "2")}


def test_other_separators_where_they_are_allowed(tmp_path):
    for mark in ";\t":
        assert rows(tmp_path, f"a{mark}b\n1{mark}2,5\n", separators=",;\t") == {2: ("1", "2,5")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a;b\n1;2\n", r"line 1: its columns are separated by semicolons \(';'\)"),
        ("a\tb\n", "separated by tabs"),
        ("a,b\n1,2\n3,4,\n", "line 3 ends with a separator too many: 3 fields, and the first line has 2 columns"),
        ("a,b\n1,2,3\n", "line 2 has 3 fields, and the first line has 2 columns"),
        ("\n\na,b,b\n1,2,3\n", "line 3: the column 'b' is there twice"),
        ("a,c\n", "no column 'b'; found 'a', 'c'"),
        ("", "is empty; its first line must be a,b"),
        ("a,b\nä,b\n".encode("latin-1"), "save it as UTF-8"),
        ("a,b\n".encode("utf-16"), "save it as UTF-8"),
    ],
)
def test_the_true_cause_is_told(tmp_path, text, words):
    with pytest.raises(DataError, match=rf"t\.csv.*{words}"):
        rows(tmp_path, text)
