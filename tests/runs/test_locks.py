"""Run folders are written by one process at a time; a killed one holds nothing."""

from __future__ import annotations

import time

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.locks import LOCK, is_locked, locked


def test_a_folder_in_use_is_refused_and_the_process_named(tmp_path, hold):
    process = hold(tmp_path / "run")
    assert is_locked(tmp_path / "run")
    with (
        pytest.raises(RunError, match=rf"run is in use by another giseg process \(process {process.pid} on .*since"),
        locked(tmp_path / "run", print),
    ):
        pass
    process.kill()
    process.wait()
    assert not is_locked(tmp_path / "run")
    with locked(tmp_path / "run", print):  # the file that the killed process left is in nobody's way
        assert (tmp_path / "run" / LOCK).is_file()
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_forked_worker_that_outlives_its_killed_parent_holds_nothing(tmp_path, hold):
    """As the workers of a loader do for some seconds."""
    process = hold(tmp_path / "run", fork=True)
    process.kill()
    process.wait()
    for _ in range(50):  # the system closes the files of a dead process a little later
        if not is_locked(tmp_path / "run"):
            break
        time.sleep(0.1)
    with locked(tmp_path / "run", print):
        pass


def test_a_process_may_lock_again_what_it_has_locked(tmp_path):
    with locked(tmp_path, print):
        with locked(tmp_path / "." / ".." / tmp_path.name, print):
            pass
        assert (tmp_path / LOCK).is_file(), "the outer one still holds it"
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_made_and_stay_empty_go_away(tmp_path):
    with locked(tmp_path / "runs" / "a", print):
        assert (tmp_path / "runs" / "a").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "runs" / "a", print):
        (tmp_path / "runs" / "a" / "file").write_text("")
    assert [file.name for file in (tmp_path / "runs" / "a").iterdir()] == ["file"]


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    import fcntl

    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    lines = []
    with locked(tmp_path, lines.append):
        pass
    assert len(lines) == 1 and "cannot be locked (No locks available)" in lines[0]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"), locked(tmp_path / "file" / "run", print):
        pass
