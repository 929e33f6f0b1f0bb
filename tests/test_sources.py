"""What prepared slices are made of: what changes with a file or with the code, and what does not."""

from __future__ import annotations

import os
import re

from gisegkit.data.sources import code_of, digest, stamp, stamped


def test_a_text_has_a_digest_of_its_own():
    assert digest("a") == digest("a") != digest("b")
    assert re.fullmatch("[0-9a-f]{24}", digest("a"))


def test_a_touched_file_has_another_stamp_and_the_same_digest(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"abc")
    before, content = stamp(str(file)), stamped(str(file))
    assert before[0] == 3 and content == [str(file), *before, content[4]]
    os.utime(file, (1, 1))
    assert stamp(str(file)) != before and stamped(str(file))[4] == content[4]
    file.write_bytes(b"abd")
    assert stamped(str(file))[4] != content[4]


def test_a_file_that_is_not_there(tmp_path):
    assert stamp(str(tmp_path / "none")) == []
    assert stamped(str(tmp_path / "none")) == [str(tmp_path / "none"), 0, 0, 0, ""]


def test_the_code_of_a_reader_is_part_of_the_key(tmp_path, monkeypatch, make_module):
    name = make_module("class Reader: ...\n")
    kind = __import__(name).Reader
    before = code_of.__wrapped__(kind)
    assert before == code_of.__wrapped__(kind)
    (tmp_path / "modules" / f"{name}.py").write_text("class Reader: pass\n")
    assert code_of.__wrapped__(kind) != before
