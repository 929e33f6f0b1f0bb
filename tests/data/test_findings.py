"""Findings of files: kinds, grouping, and the error that stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from gisegkit.data.findings import FileError, finding_of, lines_of, refuse_errors
from gisegkit.errors import DataError, Finding


def test_an_error_becomes_a_finding():
    path = Path("a/b.png")
    found = finding_of(FileError("lossy mask", f"{path}: JPEG changes values; save as PNG; really"), path, ids=("b",))
    assert found == Finding("lossy mask", "error", "a/b.png", "JPEG changes values", "save as PNG; really", ("b",))
    assert finding_of(DataError("b: broken"), path).kind == "unreadable file"


def test_five_of_a_kind_and_the_count():
    many = [Finding("bad", "error", f"f{number}", "is bad") for number in range(8)]
    assert lines_of(many)[-1] == "... and 3 more of this kind (bad)" and len(lines_of(many)) == 6
    other = Finding("worse", "error", "g", "is worse", "mend it")
    with pytest.raises(DataError, match="here: 9 errors in the data") as caught:
        refuse_errors([*many, other, Finding("note", "note", "h", "is there")], place="here")
    text = str(caught.value)
    assert "  f4: is bad" in text and "f5" not in text and "  g: is worse; mend it" in text and "h: is" not in text
    with pytest.raises(DataError, match=r"^g: is worse; mend it$"):
        refuse_errors([other])
    refuse_errors([Finding("doubt", "warning", "h", "is there")])
