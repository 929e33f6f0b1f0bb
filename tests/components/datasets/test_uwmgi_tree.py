"""What the names of the competition's files tell: sizes by slice, spacing by scan, and what is not named so."""

from __future__ import annotations

import pytest

from gisegkit.components.datasets.uwmgi_tree import THICKNESS, list_slices, sizes_beside, spacing_beside
from gisegkit.errors import DataError


@pytest.fixture
def root(tmp_path):
    for part, scan, name in (
        ("train", "case1_day0", "slice_0001_20_30_1.50_1.25.png"),
        ("train", "case1_day0", "slice_0002_20_30_1.50_1.25.png"),
        ("test", "case2_day3", "slice_0001_266_276_unknown.png"),
    ):
        folder = tmp_path / part / scan.partition("_")[0] / scan / "scans"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return tmp_path


def test_width_is_before_height_and_spacing_by_column_before_that_by_row(root):
    assert sizes_beside(root, {"case1_day0": None, "case2_day3": None}) == {
        "case1_day0_slice_0001": (30, 20),
        "case1_day0_slice_0002": (30, 20),
        "case2_day3_slice_0001": (276, 266),
    }
    assert spacing_beside(root, "case1_day0") == {"spacing_z": THICKNESS, "spacing_y": 1.25, "spacing_x": 1.5}
    assert spacing_beside(root, "case2_day3") == {}, "its names do not tell"
    assert spacing_beside(root, "case9_day0") == {}


def test_slices_are_listed_and_a_strange_name_is_refused(root):
    rows = sorted(list_slices(root, "train"))
    assert [row[:6] for row in rows] == [
        ("case1_day0_slice_0001", "case1_day0", 1, "case1", 30, 20),
        ("case1_day0_slice_0002", "case1_day0", 2, "case1", 30, 20),
    ]
    with pytest.raises(DataError, match=r"slice_0001_266_276_unknown\.png: is not named slice_NUMBER_WIDTH_HEIGHT"):
        list_slices(root, "test")
