"""What was seen in files is kept for the next start, for as long as they do not change."""

from __future__ import annotations

import json
import os
import time

import pytest

from gisegkit.data import looked_at
from gisegkit.data.looked_at import LookedAt


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(looked_at, "WORTH", 2)
    made = [tmp_path / name for name in ("a.png", "b.png")]
    for file in made:
        file.write_bytes(b"1234")
        settle(file)
    return made


def settle(file):
    """Until what was written last is so long ago that another change would have another time."""
    while time.time_ns() - file.stat().st_ctime_ns <= looked_at.SETTLED:
        time.sleep(0.005)


def start(*groups, key="k", fill=None):
    """What is known of each group at a start, which then fills in more."""
    notes = LookedAt(lambda: key, len(groups))
    known = []
    for members in groups:
        seen = notes.begin(members)
        known.append(dict(seen))
        seen.update(fill or {})
        assert notes.of(members) == seen
    notes.save()
    return known


def test_what_was_filled_in_is_there_at_the_next_start(files):
    groups = [files[0], None], [files[1]]
    assert start(*groups, fill={"empty": True}) == [{}, {}]
    assert start(*groups) == [{"empty": True}, {"empty": True}]
    assert start(*groups, key="other rule") == [{}, {}]


def test_a_file_that_changes_comes_or_goes_is_looked_at_again(files):
    groups = [files[0], None], [files[1]]
    start(*groups, fill={"empty": True})
    status = files[0].stat()
    files[0].write_bytes(b"4321")
    os.utime(files[0], ns=(status.st_atime_ns, status.st_mtime_ns))  # as long and as old as before
    settle(files[0])
    assert start(*groups, fill={"empty": False}) == [{}, {"empty": True}]
    assert start([files[0], files[1]], groups[1]) == [{}, {"empty": False}]
    files[1].unlink()
    assert start(*groups) == [{}, {}]


def test_what_was_written_a_moment_ago_is_not_trusted(files, monkeypatch):
    monkeypatch.setattr(looked_at, "SETTLED", 10**15)
    groups = [files[0]], [files[1]]
    start(*groups, fill={"empty": True})
    assert start(*groups) == [{}, {}]


def test_groups_that_are_gone_are_forgotten_and_few_are_not_kept(files):
    groups = [files[0]], [files[1]], [*files]
    start(*groups, fill={"empty": True})
    start(*groups[:2])
    assert start(*groups) == [{"empty": True}, {"empty": True}, {}]
    assert LookedAt(lambda: pytest.fail("no key is needed"), 1).of(files) == {}


def test_damaged_notes_and_a_folder_that_cannot_be_written_are_done_without(files, tmp_path):
    groups = [files[0]], [files[1]]
    start(*groups, fill={"empty": True})
    (kept,) = (tmp_path / "cache" / "looked-at").iterdir()
    for content in (b"{", b"[1]", b"3", json.dumps({str(file): 1 for file in files}).encode()):
        kept.write_bytes(content)
        assert start(*groups) == [{}, {}]
    kept.write_text(json.dumps({str(files[0]): {"files": "x"}, str(files[1]): {"seen": []}}))
    assert start(*groups) == [{}, {}]
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("a file where the folder should be")
    assert start(*groups) == [{}, {}]
