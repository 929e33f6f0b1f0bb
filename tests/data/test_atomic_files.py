"""Files that appear whole or not at all, whatever the disk does."""

from __future__ import annotations

import errno
import os
import resource
import stat

import pytest
import torch

from gisegkit.data.atomic_files import _fill, make_folder, remove_leftovers, write, write_text
from gisegkit.errors import RunError


class Full:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, room):
        self.room = room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)

    def flush(self):
        pass


@pytest.mark.parametrize("room", [0, 1, 500, 3000, 40_500])
def test_a_full_disk_is_named_whatever_torch_makes_of_it(room):
    with pytest.raises(OSError, match="No space left on device"):
        _fill(Full(room), lambda file: torch.save({"w": torch.zeros(10_000)}, file))


def test_a_limit_of_the_system_leaves_the_old_file_and_no_rest(tmp_path):
    file = tmp_path / "last.pt"
    write_text(file, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"last\.pt cannot be written: File too large") as error:
            write(file, lambda handle: torch.save({"w": torch.zeros(10_000)}, handle))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]
    assert file.read_text() == "old"


@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o022, 0o644), (0o007, 0o660)])
def test_the_users_umask_counts(tmp_path, mask, expected):
    from gisegkit.data.output import Output

    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "text")
        with Output(tmp_path) as out, out.path("b.csv") as partial:
            partial.write_text("id,class,predicted\n")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(file.stat().st_mode) for file in sorted(tmp_path.iterdir())] == [expected, expected]


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path):
    left = [".last.pt.0a1b2c3d", ".last.pt.abcd_123", ".best.pt.00000000"]
    others = [".last.pt.0a1b2c3", ".last.pt.ABCDEFGH", ".mine.pt.0a1b2c3d", "last.pt", ".lock", ".last_pt.0a1b2c3d"]
    for name in [*left, *others]:
        (tmp_path / name).write_text("x")
    (tmp_path / ".last.pt.00000001").mkdir()
    removed = remove_leftovers(tmp_path, ["last.pt", "best.pt"])
    assert sorted(file.name for file in removed) == sorted(left)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*others, ".last.pt.00000001"])
    assert remove_leftovers(tmp_path / "nowhere", ["last.pt"]) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "run", tmp_path / "file"):
        with pytest.raises(RunError, match=r"cannot be made: .*--out") as error:
            make_folder(place)
        assert "\n" not in str(error.value)
