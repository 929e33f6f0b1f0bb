"""Files that writers make: whole or not at all, in one folder, listed with their digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from urllib.parse import unquote

import pytest

from gisegkit.data.output import MANIFEST, Output, changed_since, file_name, read_manifest
from gisegkit.errors import ComponentError, RunError


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def write(out, name, text="x"):
    with out.path(name) as path:
        path.write_text(text)


def test_files_are_listed_with_size_and_digest(tmp_path):
    with Output(tmp_path / "p") as out:
        write(out, "a.txt", "abc")
        write(out, "masks/liver/1.png", "")
        assert out.finish(run="mine", ids=["1"]) == []
    content = json.loads((tmp_path / "p" / MANIFEST).read_text())
    digests = [hashlib.blake2b(text, digest_size=32).hexdigest() for text in (b"abc", b"")]
    assert content == {
        "format": 1,
        "run": "mine",
        "ids": ["1"],
        "files": [
            {"name": "a.txt", "size": 3, "digest": digests[0]},
            {"name": "masks/liver/1.png", "size": 0, "digest": digests[1]},
        ],
    }
    assert read_manifest(tmp_path / "p") == content
    assert files_in(tmp_path / "p") == ["a.txt", MANIFEST, "masks/liver/1.png"]


def test_a_file_has_its_name_when_it_is_whole(tmp_path):
    with Output(tmp_path) as out:
        with out.path("a.nii.gz") as path:
            assert path.parent == tmp_path and path.name.startswith(".partial-") and path.name.endswith("a.nii.gz")
            assert not (tmp_path / "a.nii.gz").exists()
        assert files_in(tmp_path) == ["a.nii.gz"]


def test_an_error_leaves_what_was_there_and_no_rest(tmp_path):
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(ZeroDivisionError), Output(tmp_path) as out, out.path("a.txt") as path:
        path.write_text(f"half {1 / 0}")
    assert files_in(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "before"


def test_a_file_that_is_open_when_the_prediction_fails_is_closed_and_removed(tmp_path):
    files = []

    def fail(stack, path):
        files.append(stack.enter_context(stack.enter_context(path).open("w")))
        files[0].write(f"half {1 / 0}")

    with pytest.raises(ZeroDivisionError), Output(tmp_path) as out:
        fail(out.stack(), out.path("a.txt"))
    assert files[0].closed and files_in(tmp_path) == []


def test_a_file_that_a_writer_forgets_to_close_does_not_appear(tmp_path):
    with Output(tmp_path) as out:
        stack = out.stack()
        stack.enter_context(out.path("a.txt")).write_text("whole?")
    assert files_in(tmp_path) == []


def test_a_stack_that_was_closed_is_done(tmp_path):
    with Output(tmp_path) as out:
        stack = out.stack()
        stack.enter_context(out.path("a.txt")).write_text("whole")
        stack.close()
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", ".hidden", "a/.hidden", "files.json"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with Output(tmp_path) as out, pytest.raises(ComponentError, match="a name is inside the folder, and not hidden"):
        write(out, name)


def test_a_name_twice_is_refused(tmp_path):
    with Output(tmp_path) as out:
        write(out, "a.txt", "first")
        with pytest.raises(ComponentError, match=r"a\.txt would be written twice; two slices, scans or writers share"):
            write(out, "a.txt", "second")
    assert (tmp_path / "a.txt").read_text() == "first"


def test_files_of_an_earlier_time_that_are_not_made_again_go(tmp_path):
    for names in (("a.txt", "b/c.txt"), ("a.txt",)):
        with Output(tmp_path) as out:
            (tmp_path / "foreign.txt").write_text("not ours")
            for name in names:
                write(out, name)
            stale = out.finish()
    assert stale == ["b/c.txt"]
    assert files_in(tmp_path) == ["a.txt", MANIFEST, "foreign.txt"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 9, "files": [{"name": "a.txt"}]}'])
def test_a_list_that_cannot_be_read_removes_nothing(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    (tmp_path / "a.txt").write_text("x")
    with Output(tmp_path) as out:
        write(out, "b.txt")
        assert out.finish() == []
    assert files_in(tmp_path) == ["a.txt", "b.txt", MANIFEST]


def test_a_list_that_was_edited_removes_nothing_elsewhere(tmp_path):
    (tmp_path / "kept.txt").write_text("x")
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": [{"name": "../kept.txt"}]}))
    with Output(folder) as out:
        write(out, "b.txt")
        assert out.finish() == []
    assert (tmp_path / "kept.txt").exists()


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in (".partial-0a1b2c3d-a.png", "deep/.partial-0a1b2c3d-a.png", ".partial-mine", "deep/a.png"):
        (tmp_path / name).write_text("x")
    with Output(tmp_path):
        assert files_in(tmp_path) == [".partial-mine", "deep/a.png"]


def test_a_file_elsewhere_is_not_listed(tmp_path):
    with Output(tmp_path / "p", elsewhere={"a.txt": tmp_path / "mine.txt"}) as out:
        write(out, "a.txt")
        assert out.finish() == []
    assert files_in(tmp_path) == ["mine.txt"]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Output(tmp_path) as out:
        with pytest.raises(RunError, match=r"b\.txt cannot be written: No space left"), out.path("b.txt"):
            full(None)
        assert files_in(tmp_path) == []
        write(out, "a.txt")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"a\.txt cannot be written: No space left"):
            out.finish()
    assert files_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("case1_day0_slice_0001", "case1_day0_slice_0001"),
        ("Ünï ćôde [1] #%20, 'q'", "Ünï ćôde [1] #%20, 'q'"),
        ("a/b\\c:d", "a%2Fb%5Cc%3Ad"),
        ('*?"<>|\n', "%2A%3F%22%3C%3E%7C%0A"),
        (".hidden", "%2Ehidden"),
        ("ends with.", "ends with%2E"),
        ("..", "%2E%2E"),
    ],
)
def test_texts_become_names_of_files(text, name):
    assert file_name(text) == name
    assert "%" in text or unquote(name) == text


@pytest.mark.parametrize("text", ["", "ä" * 101])
def test_texts_that_cannot_name_a_file(text):
    with pytest.raises(ComponentError, match="cannot name a file"):
        file_name(text)


def test_a_file_that_is_not_what_was_listed_is_told(tmp_path):
    with Output(tmp_path) as out:
        write(out, "a.txt", "abc")
        write(out, "b.txt", "abc")
        out.finish()
    assert not changed_since(tmp_path, "a.txt")
    (tmp_path / "a.txt").write_text("abd")
    (tmp_path / "b.txt").unlink()
    (tmp_path / "c.txt").write_text("abc")
    assert [changed_since(tmp_path, f"{name}.txt") for name in "abc"] == [True, True, True]
