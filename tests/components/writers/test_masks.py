"""The writer ``masks``: PNG files that the dataset ``folder`` reads, whatever the slices are called."""

from __future__ import annotations

import csv
import re
import tomllib

import cv2
import numpy as np
import pytest

from gisegkit.components.datasets.folder import Folder
from gisegkit.components.metrics.overlap_metrics import Dice
from gisegkit.components.writers.masks import Masks
from gisegkit.data.output import Output, PredictionFacts, SliceFacts
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import ComponentError, DataError

CLASSES = ("large bowel", "größe", "c")
SIZE = (9, 14)
NAMES = ("p 1_00", "p 1_01", "Ünï [x] #%41 'q', 2_00", "-_7")
PATTERN = r"(?P<case>.+)_(?P<position>\d+)"


def draw(count, *, overlapping, classes=3):
    """``[N, H, W, K]`` bool; where a pixel has one class at most, some have none."""
    values = np.random.default_rng(5).random((count, *SIZE, classes + 1))
    if overlapping:
        return values[..., :classes] < 0.4
    return values.argmax(-1)[..., None] == np.arange(classes)


def facts_of(name, index=0):
    case, _, position = name.rpartition("_")
    return SliceFacts(name, case, int(position or 0), case, *SIZE, index=index, depth=1)


def write(folder, masks, names=NAMES, classes=CLASSES, layout="classes", into="masks"):
    writer = Masks(layout=layout, folder=into)
    with Output(folder) as out:
        writer.begin(PredictionFacts("r", "run", classes, exclusive=False, slices=len(names)), out)
        for name, mask in zip(names, masks, strict=True):
            writer.write(facts_of(name), mask, None)
        said = writer.finish()
        out.finish()
    return said


def read_back(folder, pattern=PATTERN):
    """The files as a data set, with the keys that the writer has noted."""
    images = folder / "images"
    images.mkdir()
    for name in NAMES:
        assert cv2.imwrite(str(images / f"{name}.png"), np.zeros(SIZE, np.uint8))
    described = tomllib.loads((folder / "masks/dataset.toml").read_text(encoding="utf-8"))["dataset"]
    assert described.pop("name") == "folder"
    return Folder(root=str(folder), pattern=pattern, **described)


@pytest.mark.parametrize(
    ("layout", "overlapping", "said"),
    [
        ("classes", True, "masks/, files of 3 classes of 4 slices"),
        ("classes", False, "masks/, files of 3 classes of 4 slices"),
        ("labels", False, "masks/, label files of 4 slices"),
    ],
)
def test_masks_read_back_as_a_folder_score_1(tmp_path, layout, overlapping, said):
    masks = draw(len(NAMES), overlapping=overlapping)
    assert write(tmp_path, masks, layout=layout) == said
    dataset = read_back(tmp_path)
    assert dataset.classes == CLASSES and dataset.exclusive == (layout == "labels")
    table = dataset.table
    assert sorted(table["id"]) == sorted(NAMES) and table["labelled"].all()
    board = Scoreboard({"dice": Dice()}, CLASSES)
    for row, name in enumerate(table["id"]):
        index = NAMES.index(name)
        assert (table["case"][row], table["position"][row]) == (facts_of(name).case, facts_of(name).position)
        np.testing.assert_array_equal(dataset.mask(row) == 1, masks[index])
        board.record(board.measure(name, [name], masks[index][None], dataset.mask(row)[None], case=table["case"][row]))
    assert board.scores() == {"dice": 1.0, **{f"dice/{name}": 1.0 for name in CLASSES}}


def test_the_table_tells_ids_scans_and_positions(tmp_path):
    """Ids that no file system takes come back from slices.csv."""
    names = ('scan/1 "left"_03', ".x\ny_04")
    write(tmp_path, draw(2, overlapping=True), names)
    with (tmp_path / "masks/slices.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == list(names)
    assert [row["scan"] for row in rows] == ['scan/1 "left"', ".x\ny"]
    assert [row["position"] for row in rows] == ["3", "4"]
    assert [row["file"] for row in rows] == ["scan%2F1 %22left%22_03.png", "%2Ex%0Ay_04.png"]
    for row in rows:
        assert all((tmp_path / "masks" / name / row["file"]).is_file() for name in CLASSES)


def test_any_viewer_shows_a_class_in_white(tmp_path):
    masks = draw(len(NAMES), overlapping=True)
    write(tmp_path, masks)
    image = cv2.imread(str(tmp_path / "masks/c/p 1_01.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(image, np.where(masks[1, ..., 2], 255, 0))


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_many_classes_take_16_bits(tmp_path, count, dtype):
    classes = tuple(f"k{k}" for k in range(count))
    mask = np.zeros((1, *SIZE, count), dtype=bool)
    mask[0, 2, 3, count - 1] = mask[0, 0, 0, 0] = True
    write(tmp_path, mask, ["s_1"], classes, layout="labels")
    image = cv2.imread(str(tmp_path / "masks/s_1.png"), cv2.IMREAD_UNCHANGED)
    assert image.dtype == dtype
    assert {tuple(at): image[tuple(at)] for at in np.argwhere(image)} == {(0, 0): 1, (2, 3): count}


def test_label_files_of_overlapping_classes_are_refused_and_name_the_slice(tmp_path):
    masks = draw(len(NAMES), overlapping=False)
    masks[1, 4, 6] = [True, False, True]
    masks[2] = True
    found = re.escape("slice p 1_01: large bowel and c overlap in 1 pixel, the first in row 4, column 6; a label file")
    with pytest.raises(DataError, match=found + r'.*layout = "classes"'):
        write(tmp_path, masks, layout="labels")
    assert not (tmp_path / "files.json").exists()


def test_ids_that_share_a_name_are_refused(tmp_path):
    with pytest.raises(ComponentError, match=r"a%2Fb_1\.png would be written twice"):
        write(tmp_path, draw(2, overlapping=True), ("a/b_1", "a%2Fb_1"))


def test_two_layouts_go_to_two_folders(tmp_path):
    masks = draw(len(NAMES), overlapping=False)
    for layout in ("labels", "classes"):
        write(tmp_path / layout, masks, layout=layout, into=f"as_{layout}")
    assert (tmp_path / "labels/as_labels/-_7.png").is_file()
    assert (tmp_path / "classes/as_classes/c/-_7.png").is_file()


@pytest.mark.parametrize("folder", ["", "../x", "/x", "a/.b"])
def test_a_folder_elsewhere_is_refused_at_once(folder):
    with pytest.raises(ComponentError, match="a name is inside the folder, and not hidden"):
        Masks(folder=folder)
