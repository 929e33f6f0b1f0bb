"""Room for the prepared store: the need is never guessed too small, and what lies there is counted file by file."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gisegkit.data.doctor.facts import facts_of
from gisegkit.data.store import disk_space as room
from gisegkit.data.store.disk_space import check_room, needed, remove_left_behind, used
from gisegkit.data.store.shards import Content, write_shard
from gisegkit.errors import DataError


@given(
    pixels=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    size=st.none() | st.tuples(st.integers(16, 40), st.integers(16, 40)),
    classes=st.integers(1, 9),
    ignored=st.booleans(),
    labelled=st.lists(st.booleans(), min_size=1, max_size=5),
)
@pytest.mark.slow
def test_slices_never_take_more_than_is_asked_for(tmp_path_factory, pixels, size, classes, ignored, labelled):
    shapes = {"native": pixels} | ({} if size is None else {"sized": size})
    value = 255 if ignored else 1
    masks = {name: np.full((*shape, classes), value, dtype=np.uint8) for name, shape in shapes.items()}
    image = np.zeros((*(size or pixels), 3), dtype=np.float32)
    contents = [Content(image, (0.0, 1.0, 255.0), masks if known else {}, facts_of(image, None)) for known in labelled]
    folder = tmp_path_factory.mktemp("room")
    notes = [[f"train/case1/case1_day0/scans/slice_{number}.png", 1, 2, 3, "x" * 24] for number in range(len(labelled))]
    shard = write_shard(folder, "a", contents, notes)
    table = pd.DataFrame({"height": pixels[0], "width": pixels[1], "labelled": labelled})
    need = needed(contents[0], table, size=size, classes=classes, may_ignore=ignored)
    assert used(folder) == shard.on_disk <= need <= shard.on_disk + len(labelled) * (room.INDEX + 3 * room.ALIGN)


def test_files_of_all_layouts_are_counted(tmp_path):
    for place in ("a/x-1.bin", "a/x.jsonl", "b/y-2.bin", "b/.x-7-8.part"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(bytes(10))
    assert used(tmp_path) == 40 and used(tmp_path, without={"x"}) == 10
    assert used(tmp_path / "none") == 0


def test_a_full_disk_is_not_less_than_empty(tmp_path, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        DataError, match=r"3 slices need up to 2 KiB, and the disk has 0 KiB free besides the 1\.00 GiB"
    ):
        check_room(tmp_path, 2048, slices=3, limit=None, replaced=())


def test_the_limit_is_of_what_will_lie_there(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "x-1.bin").write_bytes(bytes(600))
    check_room(folder, 400, slices=1, limit=1000, replaced=())
    check_room(folder, 1000, slices=1, limit=1000, replaced={"x"})
    with pytest.raises(DataError, match=r"1 slices need .*input\.store_limit = 1 KiB; raise it, remove the folder"):
        check_room(folder, 425, slices=1, limit=1024, replaced=())


def test_only_old_parts_are_left_behind(tmp_path):
    (tmp_path / "a").mkdir()
    hours = {"new.part": 0.5, ".new.part": 0.5, ".old.part": 2, "old.bin": 2, ".old.bin": 2}
    for name, age in hours.items():
        (tmp_path / "a" / name).write_bytes(b"")
        os.utime(tmp_path / "a" / name, (time.time() - age * 3600,) * 2)
    remove_left_behind(tmp_path)
    assert {file.name for file in (tmp_path / "a").iterdir()} == set(hours) - {".old.part"}
