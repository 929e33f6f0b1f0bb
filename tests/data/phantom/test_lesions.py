"""The phantom's lesions: their size, their place in the liver, and that nothing else of the phantom changes."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from gisegkit.components.datasets.phantom import Phantom
from gisegkit.data.phantom.lesions import DIAMETER, LESION, MARGIN, Lesion, place_lesions
from gisegkit.data.phantom.scan import Scan
from gisegkit.data.phantom.writer import write_phantom
from gisegkit.errors import DataError

MOST = 5


@pytest.fixture(scope="module")
def slices():
    """Image, masks without and with lesions, of every slice of two scans."""
    pairs = [
        (Scan(seed=0, case=case, day=0, slices=8), Scan(seed=0, case=case, day=0, slices=8, lesions=MOST))
        for case in (1, 2)
    ]
    return [(plain.draw(place), lesions.draw(place)) for plain, lesions in pairs for place in range(8)]


def disks(mask):
    """The lesions of a mask one by one: area, width and height in pixels."""
    _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return [(int(area), int(width), int(height)) for _, _, width, height, area in found[1:]]


def test_the_organs_are_those_of_the_phantom_without_lesions(slices):
    for (_, plain), (_, masks) in slices:
        assert masks.shape[2] == 4 and np.array_equal(masks[..., :3], plain)
        assert not (masks[..., 3] & plain.any(axis=2)).any(), "a lesion is beside the organs"


def test_a_lesion_is_four_to_six_pixels_across(slices):
    found = [disk for _, (_, masks) in slices for disk in disks(masks[..., 3])]
    assert len(found) > 10
    smallest, largest = (np.pi * (side / 2) ** 2 for side in DIAMETER)  # 12.6 and 28.3 pixels
    for area, width, height in found:
        assert min(width, height) >= 3 and max(width, height) <= 6
        assert smallest - 4 <= area <= largest + 5, "a disk on a grid, give or take its outline"
    assert np.mean([area for area, _, _ in found]) == pytest.approx(np.pi * (25 + 4 / 12) / 4, rel=0.1)


def test_a_slice_has_none_to_the_most_of_them(slices):
    counts = {len(disks(masks[..., 3])) for _, (_, masks) in slices}
    assert min(counts) == 0 and MOST - 1 <= max(counts) <= MOST


def test_a_lesion_is_brighter_than_what_is_around_it(slices):
    for _, (image, masks) in slices:
        count, labels = cv2.connectedComponents(masks[..., 3].astype(np.uint8))
        for number in range(1, count):
            inside = labels == number
            ring = cv2.dilate(inside.astype(np.uint8), np.ones((9, 9))) - cv2.dilate(
                inside.astype(np.uint8), np.ones((5, 5))
            )
            assert image[inside].mean() > 1.15 * np.median(image[ring > 0])


def test_a_disk_by_hand():
    depth = Lesion(row=3.0, column=4.0, diameter=4.0, contrast=1.5).depth((8, 9))
    assert depth[3, 4] == 2 and depth[3, 6] == 0 and depth[0, 0] == pytest.approx(2 - 5)
    assert (depth > 0).sum() == 9, "of the 13 pixels within 2 the four on the outline are not inside"


def test_lesions_keep_apart_and_end_where_there_is_no_room():
    free = np.zeros((40, 40), bool)
    free[10:20, 10:20] = True
    lesions = place_lesions(free, np.random.default_rng(1), most=100)
    assert 1 <= len(lesions) < 10 and not free.any()
    for index, one in enumerate(lesions):
        for other in lesions[:index]:
            distance = np.hypot(one.row - other.row, one.column - other.column)
            assert distance - (one.diameter + other.diameter) / 2 >= MARGIN


def test_a_written_phantom_and_the_dataset_have_the_fourth_class(tmp_path):
    folder = write_phantom(tmp_path / "p", cases=1, days=1, slices=8, seed=0, test_cases=0, lesions=3)
    with (folder / "train.csv").open(newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} == {"large_bowel", "small_bowel", "stomach", LESION}
    dataset = Phantom(root=str(folder), lesions=3)
    assert dataset.classes[-1] == LESION
    expected = [Scan(seed=0, case=1, day=0, slices=8, lesions=3).draw(place)[1] for place in range(8)]
    assert all(np.array_equal(dataset.mask(row), expected[row]) for row in range(8))
    with pytest.raises(DataError, match="has the class 'lesion'"):
        Phantom(root=str(folder))


def test_the_cache_keeps_phantoms_with_and_without_lesions_apart(tmp_path):
    numbers = {"cases": 1, "days": 1, "slices": 8, "test_cases": 0, "cache": str(tmp_path)}
    plain, lesions = Phantom(**numbers), Phantom(**numbers, lesions=2)
    assert (len(plain.classes), len(lesions.classes)) == (3, 4) and plain.root != lesions.root
    with pytest.raises(DataError, match="lesions = 101 is out of range; give 0 to 100"):
        write_phantom(tmp_path / "q", cases=1, days=1, slices=8, seed=0, lesions=101)
