"""The prepared store: equal to the files, made once, stale exactly where something changed, whole or not there."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.components.datasets.uwmgi import UWMGI
from gisegkit.components.normalizations import FileType, Maximum, Percentile, Unchanged, Window, ZScore
from gisegkit.data.inputs import Input
from gisegkit.data.intensities import UNITS, keeps_zero
from gisegkit.data.loaders import EvaluationSet
from gisegkit.data.phantom.writer import write_phantom
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.data.store import disk_space as room
from gisegkit.data.store import shards, sources
from gisegkit.data.store import store as module
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store
from gisegkit.errors import DataError

SIZED = Layout((48, 40), "fit", "nearest")


@pytest.fixture(scope="session")
def written(tmp_path_factory, half_size):
    """Three scans of 17 slices, a shard each: rows 0 to 16 have no labels, those of case1 and case2 follow."""
    with half_size():
        return write_phantom(tmp_path_factory.mktemp("store") / "p", cases=2, days=1, slices=17, seed=1, test_cases=1)


@pytest.fixture(scope="module")
def built(written, tmp_path_factory):
    """Whole stores by layout, for tests that only read; they do not depend on the normalization."""

    @functools.cache
    def built(layout):
        data = UWMGI(root=str(written), exclude="none")
        store = Store(data, name="uwmgi", layout=layout, home=tmp_path_factory.mktemp("built"))
        everything(store)
        return store

    return built


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "data")


@pytest.fixture
def make(folder, tmp_path):
    def make(layout=SIZED, *, limit=None, **dataset):
        data = UWMGI(root=str(folder), **{"exclude": "none"} | dataset)
        return Store(data, name="uwmgi", layout=layout, home=tmp_path / "cache", limit=limit)

    return make


def everything(store):
    return store.prepare(range(len(store.dataset.table)))


NORMALIZATIONS = {
    **{f"{kind.__name__} over {unit}": kind(over=unit) for kind in (Maximum, Percentile, ZScore) for unit in UNITS},
    "Window": Window(level=30000, width=40000),
    "FileType": FileType(),
    "Unchanged": Unchanged(),
}


def reader(dataset, store=None, normalization=NORMALIZATIONS["Maximum over slice"], slices=3, size=()):
    preprocess = Preprocess(normalization, *size)
    return SliceReader(dataset, slices=slices, stride=2, edge="clamp", preprocess=preprocess, store=store)


def source(dataset, layout, store=None, **options):
    size = ((48, 40), "fit", "linear") if layout.size is None else layout
    return Input(reader(dataset, store, size=size, **options))


@pytest.mark.parametrize("name", [name for name, item in NORMALIZATIONS.items() if keeps_zero(item)])
@pytest.mark.parametrize("layout", [SIZED, Layout((48, 40), "stretch", "linear"), Layout((300, 280), "fit", "area")])
@pytest.mark.slow
def test_sized_slices_equal_those_of_the_files(built, layout, name):
    store = built(layout)
    prepared = source(store.dataset, layout, store, normalization=NORMALIZATIONS[name])
    direct = source(store.dataset, layout, normalization=NORMALIZATIONS[name])
    for row in (0, 16, 17, 33, 40):
        expected = direct.image(row)
        assert prepared.image(row).dtype == expected.dtype == np.float32
        assert np.array_equal(prepared.image(row), expected), "to the bit: a run does not depend on the store"
        if row >= 17:
            assert np.array_equal(prepared.mask(row), direct.mask(row))
            assert np.array_equal(prepared.planes(row), direct.planes(row))
            assert np.array_equal(prepared.truth(row), store.dataset.mask(row))


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.slow
def test_native_slices_equal_those_of_the_files_to_the_bit(built, name):
    store = built(Layout())
    chosen = NORMALIZATIONS[name]
    prepared, direct = (source(store.dataset, Layout(), held, normalization=chosen) for held in (store, None))
    for row in (0, 20, 40, 50):
        assert np.array_equal(prepared.image(row), direct.image(row))
    assert np.array_equal(prepared.mask(20), direct.mask(20))


def test_ignored_pixels_and_floats_survive(make):
    store = make(Layout())
    mask = np.random.default_rng(0).choice(np.array([0, 1, 255], dtype=np.uint8), (133, 133, 3))
    image = np.random.default_rng(1).normal(size=(133, 133, 2)).astype(np.float32)
    store.dataset.mask = lambda row: mask
    store.dataset.image = lambda row: image
    store.prepare([20])
    assert np.array_equal(store.mask(20, "native"), mask)
    assert np.array_equal(store.image(20), image)
    assert store.limits(20) == (float(image.min()), float(image.max()), 1.0)


def test_a_slice_without_labels_has_no_mask(make):
    store = make()
    everything(store)
    with pytest.raises(DataError, match="no labels"):
        store.mask(5, "native")


def test_the_second_time_nothing_is_read(make, monkeypatch):
    first = everything(make())
    store = make()
    assert (first.made, first.slices) == (51, 51)
    assert first.size == sum(file.stat().st_size for file in store.folder.iterdir()) > 51 * 48 * 40 * 2
    monkeypatch.setattr(UWMGI, "image", None)
    assert everything(store) == module.Prepared(made=0, slices=51, size=first.size)


def test_only_the_shards_of_the_rows_are_made(make):
    store = make()
    assert store.prepare([0, 3]).made == 17
    assert store.has(16) and not store.has(17)
    assert make().prepare(range(51), build=False) == module.Prepared(made=0, slices=17, size=store._shards[0].on_disk)


def change(folder, row, values):
    path = sorted((folder / "train").rglob("*.png"))[row - 17]
    cv2.imwrite(str(path), values(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))
    return path


@pytest.mark.slow
def test_a_changed_file_makes_its_own_scan_stale(make, folder):
    everything(make())
    change(folder, 20, lambda image: image // 2)
    store = make()
    assert everything(store).made == 17
    assert store.limits(20)[1] == store.dataset.image(20).max()


def test_a_touched_file_makes_nothing_stale(make, folder, monkeypatch):
    everything(make())
    os.utime(sorted((folder / "train").rglob("*.png"))[3], (1, 1))
    assert everything(make()).made == 0
    monkeypatch.setattr(sources, "stamped", None)  # its new times were noted: the content is not looked at again
    assert everything(make()).made == 0


@pytest.mark.slow
def test_changed_runs_make_their_scan_stale(make, folder):
    everything(make())
    table = folder / "train.csv"
    lines = table.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("case2") and line.split(",")[2])
    name, label, _ = lines[number].split(",")
    table.write_text("\n".join([*lines[:number], f"{name},{label},1 5", *lines[number + 1 :]]) + "\n")
    store = make()
    assert everything(store).made == 17
    row = store.dataset.table.index[store.dataset.table["id"] == name][0]
    assert store.mask(row, "native")[0, :5, store.dataset.classes.index(label)].tolist() == [1] * 5


def test_a_slice_that_is_found_empty_later_is_not_the_unlabelled_one_that_was_kept(make, folder):
    table = folder / "train.csv"
    full = pd.read_csv(table, dtype=str)
    runs = full.groupby("id")["segmentation"].count()
    name = runs.index[(runs == 0) & runs.index.str.startswith("case1_")][0]
    full[full["id"] != name].to_csv(table, index=False)
    everything(make())
    full.to_csv(table, index=False)
    store = make()
    assert everything(store).made == 17
    row = int(np.flatnonzero(store.dataset.table["id"] == name)[0])
    assert store.mask(row, "sized").shape == (48, 40, 3) and not store.planes(row, "sized").any()


def test_leaving_a_scan_out_makes_nothing_stale(make):
    everything(make())
    scan = make().dataset.table["scan"][20]
    store = make(exclude=[scan])
    assert everything(store).made == 0 and len(store.dataset.table) == 34
    assert np.array_equal(store.mask(20, "native"), store.dataset.mask(20))


@pytest.mark.slow
def test_other_layouts_classes_and_code_are_others(make, monkeypatch):
    everything(make())
    assert everything(make(Layout((48, 40), "fit", "area"))).made == 51
    assert everything(make(classes=["stomach"])).made == 51
    monkeypatch.setattr(module, "code_of", lambda kind: "other code")
    assert everything(make()).made == 51
    monkeypatch.setattr(UWMGI, "version", "2", raising=False)
    assert everything(make()).made == 51 and everything(make()).made == 0


@pytest.mark.parametrize("damage", ["cut", "gone", "index", "flip"])
@pytest.mark.slow
def test_what_is_damaged_is_made_again(make, damage):
    store = make()
    everything(store)
    expected = store.image(20).copy()
    files = sorted(store.folder.glob(f"{store._names[1]}*"))
    content = bytearray(files[0].read_bytes())
    if damage == "cut":
        files[0].write_bytes(content[:-10])
    elif damage == "gone":
        files[0].unlink()
    elif damage == "index":
        files[1].write_text(files[1].read_text()[:-20])
    else:
        flip(store, 20)
    again = make()
    assert everything(again).made == (0 if damage == "flip" else 17)  # a flipped bit is seen when the slice is read
    assert np.array_equal(again.image(20), expected)
    assert np.array_equal(make().dataset.mask(20), again.mask(20, "native"))
    assert everything(make()).made == 0


def test_an_interrupted_build_goes_on(make, monkeypatch):
    original, calls = UWMGI.image, []

    def stop(self, row):
        calls.append(row)
        if row == 30:
            raise KeyboardInterrupt
        return original(self, row)

    monkeypatch.setattr(UWMGI, "image", stop)
    store = make()
    with pytest.raises(KeyboardInterrupt):
        everything(store)
    assert not list(store.folder.glob("*.part")) and not list(store.folder.glob(".*"))
    monkeypatch.setattr(UWMGI, "image", original)
    again = make()
    assert everything(again).made < 51
    assert np.array_equal(source(again.dataset, SIZED, again).image(30), source(again.dataset, SIZED).image(30))


def test_every_slice_that_cannot_be_read_is_named_and_the_others_are_kept(make, folder):
    bad = [sorted((folder / "train").rglob("*.png"))[number] for number in (18, 20)]
    for path in bad:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError) as error:
        everything(make())
    assert all(str(path) in str(error.value) for path in bad) and "2 problems" in str(error.value)
    store = make()
    assert store.prepare([0, 20], build=False).slices == 34


def test_a_plugin_that_raises_what_the_system_says_is_not_taken_for_a_full_disk(make):
    store = make()
    store.dataset.image = lambda row: Path("none.png").read_bytes()
    with pytest.raises(DataError, match=r"case1_day0_slice_0017: cannot be read \(.*none\.png'\)\n17 problems"):
        store.prepare([20])


def test_the_first_slice_may_be_one_that_cannot_be_read(make, folder):
    bad = sorted((folder / "test").rglob("*.png"))[0], sorted((folder / "train").rglob("*.png"))[3]
    content = bad[0].read_bytes()[:100]
    for path in bad:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        make().prepare(range(1, 51))
    assert all(str(path) in str(error.value) for path in bad) and "2 problems" in str(error.value)
    assert make().prepare(range(51), build=False).slices == 17
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes(content)
    with pytest.raises(DataError, match="17 problems"):
        make().prepare([0])


def test_no_room_and_a_limit_are_refused_before_anything_is_written(make, monkeypatch):
    with pytest.raises(DataError, match=r"input\.store_limit = 100 KiB.*store=off"):
        everything(make(limit=100 * 1024))
    usage = shutil.disk_usage("/")._replace(free=room.RESERVE + 1000)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage)
    store = make()
    with pytest.raises(DataError, match=r"51 slices need up to .*GISEG_CACHE"):
        everything(store)
    assert list(store.folder.iterdir()) == []


@pytest.mark.slow
def test_the_need_is_estimated_well(make):
    size = everything(make()).size
    shutil.rmtree(make().folder)
    with pytest.raises(DataError):
        everything(make(limit=size))
    assert everything(make(limit=int(size * 1.1))).made == 51


@pytest.mark.slow
def test_the_limit_is_of_all_that_is_prepared_of_a_dataset(make, folder):
    size = everything(make()).size
    other = Layout((40, 48), "fit", "nearest")
    with pytest.raises(DataError, match="lie there already"):
        everything(make(other, limit=int(size * 1.9)))
    assert everything(make(other, limit=int(size * 2.1))).made == 51
    change(folder, 20, lambda image: image // 2)
    with pytest.raises(DataError, match="lie there already"):
        everything(make(limit=int(size * 1.9)))
    assert everything(make(limit=int(size * 2.1))).made == 17, "the stale shard makes room for the new one"
    assert make().others() == pytest.approx(2 * size, rel=0.01), "nothing was looked at yet"
    store = make()
    everything(store)
    assert store.others() == sum(file.stat().st_size for file in make(other).folder.iterdir())


def test_masks_with_ignored_pixels_do_not_pass_the_limit(make):
    store = make(Layout())
    shape = (133, 133, 3)
    store.dataset.mask = lambda row: np.full(shape, 255, dtype=np.uint8) * (row > 17)  # the first tells nothing
    store.dataset.may_ignore = True
    store.limit = 17 * (133 * 133 * 2 + 2 * 3 * 133 * 133 // 8)
    with pytest.raises(DataError, match="store_limit"):
        store.prepare([17])
    store.limit = int(store.limit * 1.1)
    assert store.prepare([17]).size <= store.limit


# --- folders that cannot be written, and go away ---


@pytest.fixture
def read_only(monkeypatch):
    """From the call on nothing can be written; tests may be run by root, whom no permission binds."""

    def forbidden(*arguments):
        raise PermissionError(13, "Permission denied")

    return lambda: monkeypatch.setattr(shards, "_part", forbidden)


def test_a_cache_that_is_a_file_is_a_clear_error(make, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(DataError, match=r"cache.*\((Not a directory|File exists)\).*GISEG_CACHE.*store=off"):
        everything(make())
    assert make().prepare(range(51), build=False).slices == 0


@pytest.mark.parametrize("method", ["open", "mkdir", "write_bytes"])
def test_so_is_one_that_cannot_be_written(make, monkeypatch, method):
    original = getattr(Path, method)

    def full(path, *arguments, **options):
        if "cache" in path.parts and arguments != ("rb",):
            raise OSError(28, "No space left on device")
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, method, full)
    store = make()
    with pytest.raises(DataError, match=r"uwmgi.*\(No space left on device\).*GISEG_CACHE.*store=off"):
        everything(store)
    monkeypatch.undo()
    assert not list(store.folder.glob(".*.part"))


@pytest.mark.slow
def test_touched_files_are_no_matter_where_nothing_can_be_written(make, folder, read_only):
    everything(make())
    os.utime(sorted((folder / "train").rglob("*.png"))[3], (1, 1))
    read_only()
    assert everything(make()) == everything(make()) and everything(make()).slices == 51


def flip(store, row):
    """Change a bit of the row's image on the disk."""
    number, place = store._places[row]
    shard = store._shards[number]
    content = bytearray(shard.path.read_bytes())
    content[shard._parse(int(place))["image"][0] + 100] ^= 1
    shard.path.write_bytes(content)


@pytest.mark.parametrize("problem", ["read-only", "another slice"])
@pytest.mark.slow
def test_what_is_damaged_and_cannot_be_made_again_is_decoded(make, folder, read_only, monkeypatch, problem):
    layout = Layout((48, 40), "fit", "area")
    everything(make(layout))
    store = make(layout)
    everything(store)
    flip(store, 20)
    if problem == "read-only":
        read_only()
    else:
        path = change(folder, 25, lambda image: image)
        path.write_bytes(path.read_bytes()[:100])
    prepared, direct = source(store.dataset, layout, store), source(store.dataset, layout)
    for _ in range(2):
        assert np.array_equal(prepared.image(20), direct.image(20))
        assert np.array_equal(prepared.mask(20), direct.mask(20))
        assert np.array_equal(prepared.planes(20), direct.planes(20))
        assert np.array_equal(prepared.truth(20), direct.truth(20))
        monkeypatch.setattr(module, "write_shard", None)  # it is tried once


@pytest.mark.slow
def test_the_cache_may_be_removed_during_a_run(make, tmp_path):
    store = make()
    everything(store)
    shutil.rmtree(tmp_path / "cache")
    assert np.array_equal(source(store.dataset, SIZED, store).image(20), source(store.dataset, SIZED).image(20))
    assert make().prepare(range(51), build=False).slices == 34, "the slice's scan, and that of the dataset's first"


@pytest.mark.slow
def test_what_a_killed_build_left_is_removed(make):
    store = make()
    everything(store)
    other = store.folder.parent / "native"
    other.mkdir()
    old, new = other / ".a-1-2.part", store.folder / ".b-1-2.part"
    for file in (old, new):
        file.write_bytes(b"abc")
    os.utime(old, (1, 1))
    everything(make())
    assert old.exists(), "where nothing is built, nothing is removed"
    shutil.rmtree(store.folder)
    new.parent.mkdir()
    new.write_bytes(b"abc")
    everything(make())
    assert new.exists() and not old.exists()


# --- roots and sources ---


@pytest.mark.slow
def test_a_folder_has_one_store_by_whatever_name(make, folder, tmp_path, monkeypatch):
    everything(make())
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for root in ("data", "./data/../data/", tmp_path / "link", "link"):
        store = Store(UWMGI(root=str(root), exclude="none"), name="uwmgi", layout=SIZED, home=tmp_path / "cache")
        assert everything(store).made == 0, root
    change(folder, 20, lambda image: image // 2)
    monkeypatch.chdir("/")
    assert store.prepare([20], build=False).slices == 34, "also from elsewhere"


class Volumes:
    """Slices of which several are made of one file."""

    classes = ("a",)
    exclusive = False
    dropped = ()

    def __init__(self, root, files):
        self.root = str(root)
        self.files = files
        names = [f"v{number:03}" for number in range(40)]
        self.table = pd.DataFrame({"id": names, "scan": ["v"] * 20 + ["w"] * 20, "position": range(40)})
        self.table = self.table.assign(group="g", height=8, width=8, labelled=True, empty=True)

    def image(self, row):
        return np.full((8, 8), row, np.uint8)

    def mask(self, row):
        return np.zeros((8, 8, 1), np.uint8)

    def sources(self, row):
        return self.files, ""


def test_a_file_of_many_slices_is_read_once(tmp_path, monkeypatch):
    files = [tmp_path / "data" / "in.bin", tmp_path / "out.bin"]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(b"abc")
    read, original = [], sources.stamped
    monkeypatch.setattr(sources, "stamped", lambda file: read.append(file) or original(file))

    def make():
        return Store(Volumes(tmp_path / "data", files), name="v", layout=Layout(), home=tmp_path / "cache")

    assert everything(make()).made == 40 and sorted(read) == sorted(map(str, files))
    for file in files:
        os.utime(file, (1, 1))
    read.clear()
    assert everything(make()).made == 0 and sorted(read) == sorted(map(str, files))
    files[1].write_bytes(b"abd")
    read.clear()
    assert everything(make()).made == 40 and sorted(read) == sorted(map(str, files))


def test_a_folder_is_no_source(tmp_path):
    store = Store(Volumes(tmp_path, [tmp_path]), name="v", layout=Layout(), home=tmp_path / "cache")
    with pytest.raises(DataError, match="is a folder; sources") as error:
        everything(store)
    assert "\n1 problem " in str(error.value)


@pytest.mark.slow
def test_small_scans_share_shards_that_do_not_depend_on_the_others(tmp_path, half_size):
    with half_size():
        data = write_phantom(tmp_path / "p", cases=12, days=1, slices=8, seed=0)
    whole = Store(UWMGI(root=str(data), exclude="none"), name="u", layout=SIZED, home=tmp_path / "cache")
    made = everything(whole)
    assert made.made == 96 and len(whole._blocks) <= 12
    scan = whole.dataset.table["scan"][0]
    less = Store(UWMGI(root=str(data), exclude=[scan]), name="u", layout=SIZED, home=tmp_path / "cache")
    shared = [rows for rows in whole._blocks if 0 in rows]
    assert everything(less).made == len(shared[0]) - 8
    for row in (0, 50, 87):
        assert np.array_equal(less.mask(row, "native"), less.dataset.mask(row))


def test_what_is_released_is_mapped_again(make):
    store = make()
    everything(store)
    held = store.image(20)
    expected, shard = held.copy(), store._shards[1]
    store.release(20)
    assert shard._map is None and store._shards[2]._map is None
    assert np.array_equal(held, expected), "what was handed out stays"
    assert np.array_equal(store.image(20), expected)
    make().release(0)  # nothing is prepared


def test_evaluation_holds_one_scan_at_a_time(make):
    store = make()
    everything(store)
    slices = EvaluationSet(source(store.dataset, SIZED, store), range(10, 51))
    mapped = [[shard._map is not None for shard in store._shards] for _ in slices]
    assert mapped[0] == [True, False, False]
    assert mapped[7] == [False, True, False] == mapped[23]
    assert mapped[24] == [False, False, True] == mapped[40]


def test_it_travels_to_other_processes(make):
    store = make()
    everything(store)
    store.image(3)
    copy = pickle.loads(pickle.dumps(store))
    assert np.array_equal(copy.image(3), store.image(3))
    assert len(pickle.dumps(store)) < 1e6, "no map and no pixels travel with it"


@pytest.mark.slow
def test_two_that_build_at_once_do_not_disturb_each_other(make):
    stores = [make(), make()]
    threads = [threading.Thread(target=everything, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(stores[0].image(25), stores[1].image(25))
    assert everything(make()).made == 0
