"""The competition's folder: names, sizes, runs, exclusions, prediction, and every way in which a folder is wrong."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.components.datasets.uwmgi import CLASSES, UWMGI
from gisegkit.data import rle
from gisegkit.data.survey import survey
from gisegkit.errors import DataError
from gisegkit.testing import check_dataset

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "uwmgi-sample"
needs_sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason="the real UW-Madison sample is not here (../shared/data/uwmgi-sample)"
)
HEIGHT, WIDTH = 6, 9


def slice_file(root, scan, number, *, part="train", width=WIDTH, height=HEIGHT, image=None):
    folder = root / part / scan.split("_")[0] / scan / "scans"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"slice_{number:04d}_{width}_{height}_1.50_1.63.png"
    if image is None:
        image = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 1000 + number
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def masks_of(scan, number):
    """``[H, W, 3]``: slice 1 is empty, the others have large bowel and stomach, which overlap."""
    mask = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    if number > 1:
        mask[1:3, 2:5, 0] = 1
        mask[2:6, 4:9, 2] = 1  # reaches the end of its rows
    return mask


def write_csv(root, rows, columns=("id", "class", "segmentation"), name="train.csv"):
    pd.DataFrame(rows, columns=list(columns)).to_csv(root / name, index=False)


def csv_rows(scans, slices=3):
    return [
        (f"{scan}_slice_{number:04d}", name, rle.encode(masks_of(scan, number)[:, :, k]) or None)
        for scan in scans
        for number in range(1, slices + 1)
        for k, name in enumerate(CLASSES)
    ]


SCANS = ("case2_day0", "case2_day5", "case7_day0", "case10_day1")


@pytest.fixture
def root(tmp_path):
    for scan in SCANS:
        for number in (1, 2, 3):
            slice_file(tmp_path, scan, number)
    write_csv(tmp_path, csv_rows(SCANS))
    return tmp_path


def test_table(root):
    dataset = UWMGI(root=str(root))
    table = dataset.table
    assert table["id"].tolist()[:4] == [
        "case10_day1_slice_0001", "case10_day1_slice_0002", "case10_day1_slice_0003", "case2_day0_slice_0001",
    ]  # fmt: skip
    assert table["scan"].unique().tolist() == ["case10_day1", "case2_day0", "case2_day5"]
    assert table["case"].unique().tolist() == ["case10", "case2"]
    assert table["position"].tolist() == [1, 2, 3] * 3
    assert (table["height"] == HEIGHT).all()
    assert (table["width"] == WIDTH).all()
    assert (table["spacing_x"] == 1.5).all()
    assert (table["spacing_y"] == 1.63).all()
    assert (table["spacing_z"] == 3).all()
    assert table["labelled"].all()
    assert [table[name].dtype.kind for name in ("position", "height", "width", "labelled", "empty")] == list("iiibb")
    assert table["empty"].tolist() == [True, False, False] * 3
    assert dataset.classes == CLASSES
    assert not dataset.exclusive
    check_dataset(dataset)


def test_images_and_masks(root):
    dataset = UWMGI(root=str(root))
    image = dataset.image(4)
    assert image.dtype == np.uint16
    assert image.shape == (HEIGHT, WIDTH)
    assert image[1, 2] == (WIDTH + 2) * 1000 + 2
    for row in range(3):
        assert np.array_equal(dataset.mask(row), masks_of("case10_day1", row + 1))


def test_exclusion_is_named_and_counted(root):
    assert [(d.slices, "standard" in d.reason, "case7_day0" in d.reason) for d in UWMGI(root=str(root)).dropped] == [
        (3, True, True)
    ]
    everything = UWMGI(root=str(root), exclude="none")
    assert len(everything.table) == 12
    assert everything.dropped == ()
    own = UWMGI(root=str(root), exclude=["case2_day5", "case10_day1", "case99_day9"])
    assert own.table["scan"].unique().tolist() == ["case2_day0", "case7_day0"]
    assert sum(dropped.slices for dropped in own.dropped) == 6
    assert np.array_equal(own.mask(1), masks_of("case2_day0", 2))  # texts follow their rows


@pytest.mark.parametrize("exclude", ["standart", ["case7"], ["case7_day0_slice_0001"], ["standard"]])
def test_wrong_exclusions(root, exclude):
    with pytest.raises(DataError, match=r"did you mean 'standard'|is no scan"):
        UWMGI(root=str(root), exclude=exclude)


def test_test_folder_is_unlabelled_and_never_excluded(root):
    slice_file(root, "case7_day0", 4, part="test")
    slice_file(root, "case2_day9", 1, part="test")
    dataset = UWMGI(root=str(root))
    unlabelled = dataset.table[~dataset.table["labelled"]]
    assert unlabelled["id"].tolist() == ["case2_day9_slice_0001", "case7_day0_slice_0004"]
    assert not unlabelled["empty"].any()
    with pytest.raises(DataError, match="case2_day9_slice_0001: has no labels"):
        dataset.mask(int(unlabelled.index[0]))
    check_dataset(dataset)


def test_test_folder_alone(root):
    shutil.rmtree(root / "train")
    slice_file(root, "case3_day0", 1, part="test")
    assert UWMGI(root=str(root)).table["labelled"].tolist() == [False]  # train.csv is of no use, and no error


def test_without_train_csv_nothing_is_labelled(root):
    (root / "train.csv").unlink()
    dataset = UWMGI(root=str(root))
    assert len(dataset.table) == 12  # exclusion concerns annotations
    assert not dataset.table["labelled"].any()
    assert any("train.csv: is not there" in line for line in dataset.defects())


def test_submission_order(root):
    assert UWMGI(root=str(root)).submission_order is None
    (root / "sample_submission.csv").write_text("id,class,predicted\n")
    assert UWMGI(root=str(root)).submission_order is None
    write_csv(
        root, [("b", "stomach", ""), ("a", "large_bowel", "")], ("id", "class", "predicted"), "sample_submission.csv"
    )
    assert UWMGI(root=str(root)).submission_order == [("b", "stomach"), ("a", "large_bowel")]


def test_classes_in_another_order_and_fewer(root):
    dataset = UWMGI(root=str(root), classes=["stomach", "large_bowel"])
    assert np.array_equal(dataset.mask(1), masks_of("", 2)[:, :, [2, 0]])
    small = UWMGI(root=str(root), classes=["small_bowel"])
    assert small.table["empty"].all()
    assert small.mask(1).shape == (HEIGHT, WIDTH, 1)


def test_pickled_copy_reads_alike(root):
    dataset = UWMGI(root=str(root))
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy.mask(5), dataset.mask(5))
    assert np.array_equal(copy.image(5), dataset.image(5))


# --- folders that are not the competition's ---


def check_three_ways_out(message):
    assert "kaggle competitions download -c uw-madison-gi-tract-image-segmentation" in message
    assert "--set dataset.root=" in message
    assert "--demo" in message


def test_missing_root_tells_three_ways_out(tmp_path):
    with pytest.raises(DataError) as caught:
        UWMGI(root=str(tmp_path / "nowhere"))
    assert "nowhere: there is no such folder" in str(caught.value)
    check_three_ways_out(str(caught.value))


def test_the_right_folder_nearby_is_named(root):
    inner = root / "deeper" / "data"
    inner.mkdir(parents=True)
    for name in ("train", "train.csv"):
        shutil.move(root / name, inner / name)
    for wrong in (inner.parent, inner / "train"):
        with pytest.raises(DataError) as caught:
            UWMGI(root=str(wrong))
        assert f"--set dataset.root={inner}\n" in str(caught.value)
        check_three_ways_out(str(caught.value))
    shutil.copytree(inner, inner.parent / "copy")
    with pytest.raises(DataError, match="holds neither") as caught:
        UWMGI(root=str(inner.parent))
    assert str(inner) not in str(caught.value)  # two of them: no guess


def test_an_empty_tree(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="hold no slices"):
        UWMGI(root=str(tmp_path))


def test_width_and_height_swapped_in_the_name(root):
    slice_file(root, "case5_day0", 1, width=HEIGHT, height=WIDTH)
    with pytest.raises(DataError, match=r"slice_0001_6_9.*width 6 and height 9 .*9 wide and 6 high"):
        UWMGI(root=str(root))


def test_a_single_wrong_size_is_found_when_read(root):
    slice_file(root, "case2_day0", 4, width=WIDTH + 1)
    dataset = UWMGI(root=str(root))
    row = dataset.table["id"].tolist().index("case2_day0_slice_0004")
    with pytest.raises(DataError, match="slice_0004_10_6"):
        dataset.image(row)


def test_strange_file_names(root):
    scans = root / "train" / "case2" / "case2_day0" / "scans"
    (scans / "._slice_0001_9_6_1.50_1.50.png").write_bytes(b"")  # what another system leaves behind
    (scans / "Thumbs.db").write_bytes(b"")
    UWMGI(root=str(root))
    (scans / "slice_0009.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"slice_0009\.png: is not named"):
        UWMGI(root=str(root))


def test_the_same_slice_twice(root):
    slice_file(root, "case2_day0", 1, part="test")
    with pytest.raises(DataError, match="same slice of the same scan"):
        UWMGI(root=str(root))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows, rows[0]], "1 rows occur twice, the first is case2_day0_slice_0001, large_bowel"),
        (lambda rows: [rows[0], ("x", None, ""), *rows[1:]], "line 3 has no id or no class"),
        (lambda rows: [*rows, ("x", "stomac", "")], "'stomac'; did you mean 'stomach'"),
        (lambda rows: [*rows, ("x", "liver", "")], "'liver'; put it in dataset.classes"),
        (lambda rows: [row for row in rows if row[1] != "stomach"], "has 'stomach', but"),
        (lambda rows: [(f"x{name}", label, runs) for name, label, runs in rows], "none of its ids"),
    ],
)
def test_wrong_tables(root, change, message):
    write_csv(root, change(csv_rows(SCANS)))
    with pytest.raises(DataError, match=message):
        UWMGI(root=str(root))


def test_wrong_columns(root):
    write_csv(root, csv_rows(SCANS), ("id", "class", "predicted"))
    with pytest.raises(DataError, match="no column 'segmentation'; found 'id', 'class', 'predicted'"):
        UWMGI(root=str(root))
    (root / "train.csv").write_bytes(b"")
    with pytest.raises(DataError, match=r"train\.csv is empty; its first line must be id,class,segmentation"):
        UWMGI(root=str(root))


@pytest.mark.parametrize("classes", [[], ["stomach", "stomach"]])
def test_wrong_classes(root, classes):
    with pytest.raises(DataError, match=r"dataset\.classes"):
        UWMGI(root=str(root), classes=classes)


def test_a_clean_folder_has_no_defects(root):
    dataset = UWMGI(root=str(root))
    assert survey(dataset).defects == []
    assert dataset.notes == ()


def test_defects(root):
    slice_file(root, "case2_day0", 4)  # no rows
    rows = csv_rows(SCANS) + [("case2_day5_slice_0009", name, None) for name in CLASSES]  # no file
    rows = [row for row in rows if row[:2] != ("case2_day5_slice_0003", "stomach")]
    broken = rows.index(("case2_day0_slice_0001", "stomach", None))
    rows[broken] = ("case2_day0_slice_0001", "stomach", "50 9")
    write_csv(root, rows)
    slice_file(root, "case2_day5", 2, image=np.zeros((HEIGHT, WIDTH), dtype=np.uint16))
    slice_file(root, "case10_day1", 2, image=np.ones((HEIGHT, WIDTH), dtype=np.uint8))
    slice_file(root, "case10_day1", 3, image=np.ones((HEIGHT, WIDTH, 3), dtype=np.uint16))
    cut = slice_file(root, "case2_day0", 3)
    cut.write_bytes(cut.read_bytes()[:-30])
    slice_file(root, "case2_day5", 4, height=7)
    found = survey(UWMGI(root=str(root))).defects
    expected = [
        "case2_day5: 1 ids of train.csv have no file",
        "case2_day0: 1 slices have no rows in train.csv",
        "case2_day5: 1 slices have no rows in train.csv",
        "case2_day5_slice_0003: train.csv lacks a row",
        "slice_0002_9_6_1.50_1.63.png: has 8 bits a pixel",
        "is a color image",
        "case2_day0_slice_0001, stomach: the run '50 9' ends at pixel 58, but 6 rows of 9 columns have 54",
        "the file is cut off",
        "case2_day5_slice_0002: the image is black",
        "the name says width 9 and height 7",
    ]
    for text in expected:
        assert sum(text in line for line in found) == 1, text
    assert len(found) == len(expected)


def test_defects_of_the_table_are_notes_too(root):
    """One line a kind, which training prints as well; giseg data lists them one by one."""
    slice_file(root, "case2_day0", 4)  # no rows
    slice_file(root, "case2_day0", 5)
    rows = csv_rows(SCANS) + [("case2_day5_slice_0009", name, None) for name in CLASSES]  # no file
    write_csv(root, [row for row in rows if row[:2] != ("case2_day5_slice_0003", "stomach")])
    assert UWMGI(root=str(root)).notes == (
        "1 ids of train.csv have no file in train/, so their masks are not used (first: case2_day5_slice_0009); giseg "
        "data lists them",
        "2 slices in train/ have no rows in train.csv, so they count as not labelled (first: case2_day0_slice_0004); "
        "giseg data lists them",
        "1 slices lack rows of train.csv for some class, which counts as absent there (first: case2_day5_slice_0003); "
        "giseg data lists them",
    )
    (root / "train.csv").unlink()
    assert UWMGI(root=str(root)).notes[0].endswith("train.csv: is not there, so no slice is labelled")


def test_blanks_around_ids_and_capital_endings_lose_nothing(root):
    write_csv(root, [(f"{name} ", f" {label}", runs) for name, label, runs in csv_rows(SCANS)])
    for file in (root / "train" / "case2").rglob("*.png"):
        file.rename(file.with_suffix(".PNG"))
    dataset = UWMGI(root=str(root))
    assert dataset.table["labelled"].all() and len(dataset.table) == 9
    (note,) = dataset.notes
    assert "rows have blanks around id or class, which are not counted (first: line 2)" in note
    assert list(dataset.defects()) == [note]
    assert np.array_equal(dataset.mask(1), masks_of("case10_day1", 2))
    assert dataset.image(4).shape == (HEIGHT, WIDTH)


def test_a_missing_file_is_named(root):
    dataset = UWMGI(root=str(root))
    (root / dataset.table["path"][4]).unlink()
    with pytest.raises(DataError, match=r"case2_day0/scans/slice_0002.*cannot be read"):
        dataset.image(4)


def test_making_one_lists_each_folder_once_and_reads_one_header_a_scan(tmp_path, monkeypatch):
    """Of 38,496 slices; whatever else is read of each would take minutes."""
    content = cv2.imencode(".png", np.ones((HEIGHT, WIDTH), dtype=np.uint16))[1].tobytes()
    rows = []
    for case in range(3):
        folder = tmp_path / "train" / f"case{case}" / f"case{case}_day1" / "scans"
        folder.mkdir(parents=True)
        for number in range(1, 145):
            (folder / f"slice_{number:04d}_{WIDTH}_{HEIGHT}_1.50_1.50.png").write_bytes(content)
            rows += [(f"case{case}_day1_slice_{number:04d}", name, "1 3 12 4") for name in CLASSES]
    write_csv(tmp_path, rows)
    listed, opened, listdir, path_open = [], [], os.listdir, Path.open
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(str(folder)) or listdir(folder))
    monkeypatch.setattr(Path, "open", lambda self, *a, **b: opened.append(str(self)) or path_open(self, *a, **b))
    for reader in ("imread", "imdecode"):
        monkeypatch.setattr(cv2, reader, None)
    dataset = UWMGI(root=str(tmp_path))
    assert len(dataset.table) == 432
    scans = [str(tmp_path / "train" / f"case{case}" / f"case{case}_day1" / "scans") for case in range(3)]
    assert sorted(folder for folder in listed if folder.endswith("scans")) == scans
    assert sorted(os.path.dirname(file) for file in opened if file.endswith(".png")) == scans


@needs_sample
def test_real_sample():
    dataset = UWMGI(root=str(SAMPLE))
    check_dataset(dataset)
    assert len(dataset.table) == 18
    assert dataset.table["case"].nunique() == 3
    assert dataset.table["scan"].nunique() == 4
    assert sorted(set(zip(dataset.table["height"], dataset.table["width"], strict=True))) == [(266, 266), (310, 360)]
    assert list(dataset.defects()) == []
    texts = pd.read_csv(SAMPLE / "train.csv").fillna("").set_index(["id", "class"])["segmentation"]
    for row, name in enumerate(dataset.table["id"]):
        assert dataset.image(row).dtype == np.uint16
        mask = dataset.mask(row)
        for k, label in enumerate(dataset.classes):
            assert rle.encode(mask[:, :, k]) == texts[name, label]
            pieces = cv2.connectedComponents(np.ascontiguousarray(mask[:, :, k]))[0] - 1
            assert pieces <= 6  # read in the wrong order, real masks fall into dozens of pieces
