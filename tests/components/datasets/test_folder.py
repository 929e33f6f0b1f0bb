"""Pairs of images and masks: label files, files a class, ignored values, names, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.components.datasets.folder import Folder
from gisegkit.components.normalizations import FileType
from gisegkit.data import looked_at
from gisegkit.data.findings import refuse_errors
from gisegkit.data.images import look, read
from gisegkit.data.names import natural
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.errors import DataError
from gisegkit.testing import check_dataset
from gisegkit.types import IGNORE

MEMBRANE = Path(__file__).parents[4] / "shared" / "data" / "membrane"


def load(**options):
    """A dataset whose files are right; raises what stops training."""
    dataset = Folder(**options)
    refuse_errors(dataset.findings())
    return dataset


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def picture(height=6, width=8, dtype=np.uint8):
    return np.arange(height * width, dtype=dtype).reshape(height, width)


def label_file(height=6, width=8, dtype=np.uint8):
    """Values 0, 1, 2 in stripes, and one pixel of 9."""
    labels = np.tile(np.arange(width) % 3, (height, 1)).astype(dtype)
    labels[0, 0] = 9
    return labels


LABELS = {"liver": 2, "spleen": 1}


@pytest.fixture
def root(tmp_path):
    for name in ("1", "2", "10"):
        write(tmp_path / "images" / f"{name}.png", picture())
        write(tmp_path / "masks" / f"{name}.png", label_file())
    return tmp_path


def test_label_files(root):
    dataset = load(root=str(root), labels=LABELS, ignore=[9])
    check_dataset(dataset)
    assert dataset.exclusive
    assert dataset.classes == ("liver", "spleen")
    assert dataset.dropped == ()
    mask = dataset.mask(0)
    labels = label_file()
    for k, value in enumerate(LABELS.values()):
        expected = (labels == value).astype(np.uint8)
        expected[0, 0] = IGNORE  # for every class
        assert np.array_equal(mask[:, :, k], expected)
    assert not dataset.table["empty"].any()
    assert dataset.table["case"].tolist() == dataset.table["scan"].tolist() == ["1", "10", "2"]
    assert list(dataset.findings()) == []


def test_ignored_pixels_alone_are_empty(root):
    write(root / "masks" / "2.png", np.where(label_file() == 9, 9, 0).astype(np.uint8))
    table = load(root=str(root), labels=LABELS, ignore=[9]).table
    assert dict(zip(table["id"], table["empty"], strict=True)) == {"1": False, "10": False, "2": True}


def test_unexplained_values_are_shown_with_file_and_remedy(root):
    with pytest.raises(DataError) as caught:
        load(root=str(root), labels={"liver": 2})
    message = str(caught.value)
    assert "masks/1.png: has the value 1, 9, which nothing explains" in message
    for remedy in ("dataset.labels", "dataset.background", "dataset.ignore"):
        assert remedy in message


def test_zero_can_be_a_class(root):
    for name in ("1", "2", "10"):
        write(root / "masks" / f"{name}.png", np.where(label_file() == 1, 0, 255).astype(np.uint8))
    dataset = load(root=str(root), labels={"membrane": 0}, background=[255])
    assert np.array_equal(dataset.mask(0)[:, :, 0], label_file() == 1)
    with pytest.raises(DataError, match=r"value 0 is both dataset\.labels\.membrane and dataset\.background.*default"):
        load(root=str(root), labels={"membrane": 0})
    with pytest.raises(DataError, match="has the value 255"):
        load(root=str(root), labels={"membrane": 0}, background=[])


def test_sixteen_bits_and_tiff(tmp_path):
    labels = label_file(dtype=np.uint16) * 1000
    write(tmp_path / "images" / "a.tif", picture(dtype=np.uint16) * 1000)
    write(tmp_path / "masks" / "a.png", labels)
    dataset = load(root=str(tmp_path), labels={"x": 1000, "y": 2000}, ignore=[9000])
    check_dataset(dataset)
    assert dataset.image(0).dtype == np.uint16
    assert np.array_equal(dataset.mask(0)[:, :, 1] == 1, labels == 2000)


def test_color_images_are_red_green_blue(tmp_path):
    image = np.zeros((6, 8, 3), dtype=np.uint8)
    image[:, :, 2] = 200  # red in OpenCV's order
    write(tmp_path / "images" / "a.png", image)
    write(tmp_path / "masks" / "a.png", label_file())
    found = load(root=str(tmp_path), labels=LABELS, ignore=[9]).image(0)
    assert found.shape == (6, 8, 3)
    assert found[3, 3].tolist() == [200, 0, 0]


def test_one_file_a_class_may_overlap(tmp_path):
    first, second = label_file() > 0, label_file() < 2
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.jpg", picture())
        write(tmp_path / "masks" / "liver" / f"{name}.png", first.astype(np.uint8) * 255)
        write(tmp_path / "masks" / "fat" / f"{name}.tif", second.astype(np.uint8))
    dataset = load(root=str(tmp_path), classes=["fat", "liver"])
    check_dataset(dataset)
    assert not dataset.exclusive
    assert np.array_equal(dataset.mask(1), np.stack([second, first], axis=2))
    assert (first & second).any()


def test_ignored_values_in_files_a_class_count_for_no_class(tmp_path):
    write(tmp_path / "images" / "a.png", picture())
    write(tmp_path / "masks" / "x" / "a.png", label_file())
    write(tmp_path / "masks" / "y" / "a.png", np.ones((6, 8), dtype=np.uint8))
    mask = load(root=str(tmp_path), classes=["x", "y"], ignore=[9]).mask(0)
    assert mask[0, 0].tolist() == [IGNORE, IGNORE]
    assert (mask == IGNORE).sum() == 2


def test_images_of_different_sizes(root):
    write(root / "images" / "3.png", picture(11, 5))
    write(root / "masks" / "3.png", label_file(11, 5))
    dataset = load(root=str(root), labels=LABELS, ignore=[9])
    check_dataset(dataset)
    assert dataset.table[["height", "width"]].to_numpy().tolist() == [[6, 8], [6, 8], [6, 8], [11, 5]]


def test_without_masks_everything_is_for_prediction(root):
    dataset = load(root=str(root), masks="nothing", labels=LABELS)
    assert not dataset.table["labelled"].any()
    assert not dataset.table["empty"].any()
    assert len(list(dataset.findings())) == 1
    with pytest.raises(DataError, match="1: has no mask"):
        dataset.mask(0)
    check_dataset(dataset)


def test_a_folder_of_unlabelled_images(root):
    write(root / "new" / "7.png", picture(4, 4))
    dataset = load(root=str(root), labels=LABELS, ignore=[9], unlabelled="new")
    assert dataset.table["labelled"].tolist() == [True, True, True, False]
    assert dataset.image(3).shape == (4, 4)
    check_dataset(dataset)
    write(root / "new" / "2.png", picture(4, 4))
    with pytest.raises(DataError, match=r"images/2\.png and .*new/2\.png have the same name"):
        load(root=str(root), labels=LABELS, ignore=[9], unlabelled="new")


# --- names ---


def names(tmp_path, stems, pattern):
    for stem in stems:
        write(tmp_path / "images" / f"{stem}.png", picture())
    table = load(root=str(tmp_path), labels=LABELS, pattern=pattern).table
    return table[["id", "scan", "position", "case"]].to_numpy().tolist()


def test_pattern_gives_volume_position_and_group(tmp_path):
    found = names(
        tmp_path, ["p1_d0_2", "p1_d0_10", "p1_d3_1", "p2_d0_7"],
        r"(?P<scan>(?P<case>p\d+)_d\d+)_(?P<position>\d+)",
    )  # fmt: skip
    assert found == [
        ["p1_d0_2", "p1_d0", 2, "p1"], ["p1_d0_10", "p1_d0", 10, "p1"], ["p1_d3_1", "p1_d3", 1, "p1"],
        ["p2_d0_7", "p2_d0", 7, "p2"],
    ]  # fmt: skip


def test_pattern_without_position_counts_in_natural_order(tmp_path):
    found = names(tmp_path, ["a-10", "a-9", "b-1"], r"(?P<scan>\w)-.*")
    assert found == [["a-9", "a", 0, "a"], ["a-10", "a", 1, "a"], ["b-1", "b", 0, "b"]]


def test_natural_order():
    assert sorted(["s10", "s9", "s1a", "s1", "2s", "10s"], key=natural) == ["2s", "10s", "s1", "s1a", "s9", "s10"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?P<scan>\w)", "does not describe the name 'a-1'"),
        (r"(?P<scan>\w", "is no regular expression"),
        (r"(?P<scam>\w).*", "'scam' has no meaning.*did you mean 'scan'"),
        (
            r"(?P<volume>\w).*",
            r"'volume' has no meaning; valid are scan, position, case; write \(\?P<scan>...\), its name now",
        ),
        (r"(?P<group>\w).*", r"'group' has no meaning.*write \(\?P<case>"),
        (r"\w.*", "has no named group"),
        (r"(?P<position>\w)-.*", "no whole number as position"),
        (r"(?P<scan>\w)-(?P<position>\d).*", "a-1 and a-11 the same scan and position"),
    ],
)
def test_wrong_patterns(tmp_path, pattern, message):
    with pytest.raises(DataError, match=message):
        names(tmp_path, ["a-1", "a-11"], pattern)


# --- refusals ---


def test_partners_are_missing(root):
    write(root / "images" / "20.png", picture())
    with pytest.raises(DataError, match=r"1 images have no mask in .*masks: 20;"):
        load(root=str(root), labels=LABELS, ignore=[9])
    (root / "images" / "20.png").unlink()
    (root / "images" / "10.png").unlink()
    with pytest.raises(DataError, match=r"1 masks in .*masks have no image: 10;"):
        load(root=str(root), labels=LABELS, ignore=[9])


def test_both_sides_of_a_pairing_that_fails_are_shown(root):
    for name in ("1", "2", "10"):
        (root / "masks" / f"{name}.png").rename(root / "masks" / f"{name}_mask.png")
    with pytest.raises(DataError) as caught:
        load(root=str(root), labels=LABELS, ignore=[9])
    message = str(caught.value)
    assert f"3 images have no mask in {root}/masks: 1, 2, 10; " in message
    assert f"3 masks in {root}/masks have no image: 1_mask, 2_mask, 10_mask; " in message
    assert "names of masks end with '_mask': rename them" in message
    write(root / "masks" / "other.png", label_file())
    with pytest.raises(DataError, match=r"4 masks in .* \.\.\.; .*add what is missing|4 masks in .* end with '_mask'"):
        load(root=str(root), labels=LABELS, ignore=[9])


def test_without_a_pattern_cases_in_the_names_are_told(tmp_path):
    for case in range(3):
        for position in range(4):
            write(tmp_path / "images" / f"p{case:02}_{position}.png", picture())
            write(tmp_path / "masks" / f"p{case:02}_{position}.png", label_file())
    dataset = load(root=str(tmp_path), labels=LABELS, ignore=[9])
    (found,) = dataset.findings()
    note = found.what
    assert found.severity == "warning" and "3 cases (p00 ... p02)" in note
    names = note.rpartition("dataset.names = '")[2].removesuffix("'")
    followed = load(root=str(tmp_path), labels=LABELS, ignore=[9], names=names)
    assert followed.table["case"].nunique() == 3 and list(followed.findings()) == []


@pytest.mark.parametrize("slices", [1, 3])
def test_stacks_and_scans_never_mix_cases(tmp_path, slices):
    """Two patients whose scans have one name: neighbors, and what 3D metrics are given, are of one of them."""
    for case in (1, 2):
        for position in (1, 2):
            image = np.full((6, 8), 10 * case + position, np.uint8)
            write(tmp_path / "images" / f"p{case}_s1_{position}.png", image)
            write(tmp_path / "masks" / f"p{case}_s1_{position}.png", label_file())
    pattern = r"(?P<case>p\d+)_(?P<scan>s\d+)_(?P<position>\d+)"
    dataset = load(root=str(tmp_path), labels=LABELS, ignore=[9], pattern=pattern)
    reader = SliceReader(dataset, slices=slices, stride=1, edge="clamp", preprocess=Preprocess(FileType()))
    for row, case in enumerate(dataset.table["case"]):
        assert set(np.unique(np.rint(reader.read(row) * 255)) // 10) == {int(case[1:])}
    assert dataset.table.groupby("scan")["case"].nunique().tolist() == [1, 1]


def test_sizes_differ(root):
    write(root / "masks" / "2.png", label_file(8, 6))
    with pytest.raises(DataError, match=r"masks/2\.png: is 8 x 6 .*images/2\.png is 6 x 8"):
        load(root=str(root), labels=LABELS, ignore=[9])


def test_lossy_masks(root):
    (root / "masks" / "2.png").unlink()
    write(root / "masks" / "2.jpg", label_file())
    with pytest.raises(DataError, match=r"2\.jpg: JPEG changes the values"):
        load(root=str(root), labels=LABELS, ignore=[9])


def test_color_masks_only_where_channels_are_equal(root):
    write(root / "masks" / "2.png", np.repeat(label_file()[:, :, None], 3, axis=2))
    assert np.array_equal(load(root=str(root), labels=LABELS, ignore=[9]).mask(2)[:, :, 1] == 1, label_file() == 1)
    write(root / "masks" / "2.png", np.stack([label_file(), label_file(), picture()], axis=2))
    with pytest.raises(DataError, match=r"2\.png: is a color image"):
        load(root=str(root), labels=LABELS, ignore=[9])


def test_masks_with_fractions(root):
    (root / "masks" / "2.png").unlink()
    write(root / "masks" / "2.tif", label_file().astype(np.float32) / 2)
    with pytest.raises(DataError, match=r"2\.tif: has values of type float32"):
        load(root=str(root), labels=LABELS, ignore=[9])


def test_two_files_of_one_name(root):
    write(root / "images" / "2.jpg", picture())
    with pytest.raises(DataError, match="have the same name"):
        load(root=str(root), labels=LABELS, ignore=[9])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either"),
        ({"labels": LABELS, "classes": ["a"]}, "give either"),
        ({"classes": ["a", "a"]}, "a name twice"),
        ({"labels": {"a": 1, "b": 1}}, r"value 1 is both dataset\.labels\.a and dataset\.labels\.b"),
        ({"labels": {"a": 1}, "ignore": [1]}, r"labels\.a and dataset\.ignore"),
        ({"labels": {"a": 1}, "ignore": [0]}, r"background and dataset\.ignore"),
    ],
)
def test_values_have_one_meaning(root, options, message):
    with pytest.raises(DataError, match=message):
        load(root=str(root), **options)


@pytest.mark.parametrize("where", ["nowhere", "masks", "empty"])
def test_missing_root_tells_three_ways_out(root, where):
    (root / "empty" / "images").mkdir(parents=True)
    (root / "empty" / "images" / "scan.dcm").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load(root=str(root / where), labels=LABELS)
    message = str(caught.value)
    assert "images" in message.splitlines()[0]
    assert ("found: .dcm" in message) == (where == "empty")
    assert "--set dataset.root=" in message
    assert "--demo" in message


def test_pickled_copy_reads_alike(root):
    dataset = load(root=str(root), labels=LABELS, ignore=[9])
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy.mask(1), dataset.mask(1))
    assert np.array_equal(copy.image(1), dataset.image(1))


@pytest.mark.skipif(not MEMBRANE.is_dir(), reason="the real membrane set is not here (../shared/data/membrane)")
def test_real_membranes():
    dataset = load(root=str(MEMBRANE), labels={"membrane": 0}, background=[255])
    check_dataset(dataset)
    assert len(dataset.table) == 30
    assert dataset.image(0).shape == (512, 512)
    share = np.mean([dataset.mask(row).mean() for row in range(30)])
    assert 2 * share / (1 + share) == pytest.approx(0.36, abs=0.01)  # the Dice of predicting membranes everywhere


def test_spacing_is_a_column_an_axis(root):
    table = load(root=str(root), labels=LABELS, ignore=[9], spacing=[3.0, 1.5, 1.25]).table
    assert table[["spacing_z", "spacing_y", "spacing_x"]].drop_duplicates().to_numpy().tolist() == [[3.0, 1.5, 1.25]]
    table = load(root=str(root), labels=LABELS, ignore=[9], spacing=[1.5, 1.25]).table
    assert (table["spacing_y"] == 1.5).all() and (table["spacing_x"] == 1.25).all() and "spacing_z" not in table
    assert "spacing_y" not in load(root=str(root), labels=LABELS, ignore=[9]).table


@pytest.mark.parametrize("spacing", [[1.5], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0], [1.0, -1.0, 1.0], [1.0, float("inf")]])
def test_spacing_that_is_none_is_refused(root, spacing):
    with pytest.raises(DataError, match=r"dataset.spacing = .*: give mm above 0"):
        load(root=str(root), labels=LABELS, ignore=[9], spacing=spacing)


# --- large folders ------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A folder of four slices that counts as large, and a function that opens it and tells which files were opened."""
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(looked_at, "WORTH", 4)
    monkeypatch.setattr(looked_at, "SETTLED", 0)
    opened = []
    plain = look.open_file
    for home in (look, read):
        monkeypatch.setattr(home, "open_file", lambda path: opened.append(path.name) or plain(path))
    for number in range(4):
        for kind, value in (("images", 100), ("masks", number % 2)):
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / kind / f"{number}.png"), np.full((8, 8), value, np.uint8))

    def start(**options):
        opened.clear()
        dataset = Folder(root=str(tmp_path / "set"), labels={"a": 1}, **options)
        return dataset, [finding.kind for finding in dataset.findings()], sorted(set(opened))

    return tmp_path / "set", start


def test_a_large_folder_is_looked_at_once(large):
    _, start = large
    first, found, opened = start()
    assert opened == ["0.png", "1.png", "2.png", "3.png"] and not found
    again, found, opened = start()
    assert opened == [] and not found
    pd.testing.assert_frame_equal(first.table, again.table)
    assert again.table["empty"].tolist() == [True, False, True, False]
    assert again.table["empty"].dtype == bool and start(alpha="drop")[2]


def test_what_changes_in_a_large_folder_is_seen_and_what_is_wrong_is_told_each_time(large):
    root, start = large
    start()
    cv2.imwrite(str(root / "masks" / "0.png"), np.ones((8, 8), np.uint8))
    cv2.imwrite(str(root / "masks" / "1.png"), np.full((8, 8), 9, np.uint8))
    cv2.imwrite(str(root / "images" / "2.png"), np.zeros((6, 8), np.uint8))
    (root / "images" / "3.png").write_bytes(cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes())
    expected = ["content of another kind", "unexplained value", "mask of another size"]
    for _ in range(3):
        dataset, found, opened = start()
        assert sorted(found) == sorted(expected) and dataset.table["empty"].tolist()[0] is False
    assert opened == ["1.png", "2.png", "3.png"]
    cv2.imwrite(str(root / "masks" / "1.png"), np.ones((8, 8), np.uint8))
    assert "unexplained value" not in start()[1]


def test_an_image_with_two_masks_is_looked_at_with_each(large):
    """Under two ids, whose masks are empty and not: what is known of one is not taken for the other."""
    root, start = large
    pairs = [("a", 0, 0), ("b", 0, 1), ("c", 1, 1), ("d", 1, 0)]
    rows = [f"images/{image}.png,masks/{mask}.png,{name}" for name, image, mask in pairs]
    (root / "pairs.csv").write_text("\n".join(["image,mask,id", *rows]))
    for _ in range(2):
        table = start(table="pairs.csv")[0].table
        assert dict(zip(table["id"], table["empty"], strict=True)) == {"a": True, "b": False, "c": False, "d": True}
