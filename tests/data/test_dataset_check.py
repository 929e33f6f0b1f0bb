"""A dataset's promises: each that is broken is told in the author's words, none of what is right is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisegkit.data.dataset_check import breaches, contradictions, row_problems


class Good:
    """Twelve slices of three scans; odd rows have a class."""

    classes = ("a", "b")
    exclusive = False
    dropped = ()

    def __init__(self):
        rows = range(12)
        self.table = pd.DataFrame(
            {
                "id": [f"s{row:02}" for row in rows],
                "scan": [f"v{row // 4}" for row in rows],
                "position": [row % 4 for row in rows],
                "case": [f"g{row // 4}" for row in rows],
                "height": 10,
                "width": 12,
                "labelled": [row < 10 for row in rows],
                "empty": [row % 2 == 0 or row > 9 for row in rows],
            }
        )
        self.change = lambda mask, row: mask

    def image(self, row):
        return np.full((10, 12), row, np.uint8)

    def mask(self, row):
        mask = np.zeros((10, 12, 2), np.uint8)
        mask[2:5, 3:6, row // 2 % 2] = row % 2
        return self.change(mask, row)


def problems(dataset):
    wrong = breaches(dataset)
    return wrong or contradictions(dataset) or [problem.text for problem in row_problems(dataset) if problem.refused]


def test_what_is_right_has_no_problem():
    assert problems(Good()) == []
    assert row_problems(Good()) == []


def with_column(name, values):
    dataset = Good()
    dataset.table[name] = values
    return dataset


def test_former_names_of_columns_are_told_with_the_new_ones():
    dataset = Good()
    dataset.table = dataset.table.rename(columns={"scan": "volume", "case": "group"})
    assert problems(dataset) == ["its table has no column scan, case (volume is now scan, group is now case)"]


TABLES = {
    "ids of numbers": (with_column("id", range(12)), "column 'id' holds 0 (int); it wants text"),
    "ids that are missing": (with_column("id", ["a", None, *"cdefghijkl"]), "column 'id' holds nan (float)"),
    "cases that are missing": (with_column("case", [np.nan] * 12), "column 'case' holds nan (float)"),
    "labelled as text": (
        with_column("labelled", ["yes"] * 12),
        "column 'labelled' holds 'yes' (str); it wants True or",
    ),
    "positions of float": (with_column("position", np.linspace(0, 1, 12)), "column 'position' is float64"),
    "ids twice": (with_column("id", ["s1", "s1", *"cdefghijkl"]), "ids must be unique, and s1 is there twice"),
    "many ids twice": (
        with_column("id", [*"abcdef"] * 2),
        "ids must be unique, and a, b, c and 3 more are there twice",
    ),
    "scans of two cases": (with_column("case", [f"g{row}" for row in range(12)]), "scan v0 has slices of 4 cases"),
    "sizes": (with_column("width", [*range(12, 24)]), "scan v0 has slices of different sizes"),
    "order": (with_column("position", [*range(12)][::-1]), "not sorted by scan and position: s01 is the first"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_breaks_a_promise(name):
    dataset, message = TABLES[name]
    assert message in problems(dataset)[0]


def test_attributes_and_classes():
    dataset = Good()
    dataset.classes = ("a", "a")
    assert "its classes are ['a', 'a']; it wants at least one name, each once" in problems(dataset)[0]

    class Bare:
        table = Good().table
        classes = ("a",)

    assert problems(Bare()) == ["it has no attribute exclusive, dropped, image, mask"]
    dataset = Good()
    dataset.table = dataset.table.to_dict()
    assert problems(dataset) == ["its table is a dict, not a pandas.DataFrame"]


MASKS = {
    "0 and 255": (
        lambda mask, row: mask * 255,
        "its masks hold 0 and 255; gisegkit wants 0 and 1, and 255 means 'ignore",
    ),
    "0 and 128": (
        lambda mask, row: mask * 128,
        "the mask of slice s01 (uint8) holds 0, 128; gisegkit wants a plane of 0",
    ),
    "labels": (lambda mask, row: mask * 7, "holds 0, 7; gisegkit wants a plane of 0 and 1 for each class"),
    "NaN": (lambda mask, row: np.where(mask == 1, np.nan, mask), "(float64) holds 0, nan"),
    "float": (lambda mask, row: mask.astype(np.float32), "is float32; gisegkit wants uint8: mask.astype(np.uint8)"),
    "bool": (lambda mask, row: mask == 1, "is bool; gisegkit wants uint8"),
    "one plane": (lambda mask, row: mask[:, :, 0], "is [10, 12]; gisegkit wants [H, W, K], here [10, 12, 2]"),
    "classes first": (lambda mask, row: mask.transpose(2, 0, 1), "is [2, 10, 12]; gisegkit wants [H, W, K]"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_that_are_none(name):
    dataset = Good()
    dataset.change, message = MASKS[name]
    assert message in "; ".join(problems(dataset))


def test_masks_of_0_and_255_are_found_where_the_table_calls_every_slice_empty():
    """As an author writes it: empty is where no pixel is 1."""
    dataset = Good()
    dataset.change = lambda mask, row: mask * 255
    dataset.table["empty"] = True
    assert "its masks hold 0 and 255" in problems(dataset)[0]


def test_ignored_pixels_beside_classes_and_in_empty_slices_are_right():
    dataset = Good()

    def ignore(mask, row):
        mask[:2] = 255
        return mask

    dataset.change = ignore
    assert row_problems(dataset) == []


def test_overlaps_are_refused_where_classes_exclude_each_other():
    dataset = Good()
    dataset.change = lambda mask, row: mask.max(axis=2, keepdims=True).repeat(2, axis=2)
    assert problems(dataset) == []
    dataset.exclusive = True
    assert "exclusive is True, and slice s01 has pixels of two classes" in problems(dataset)[0]


def test_random_readers_are_found_in_images_and_masks():
    dataset = Good()
    dataset.image = lambda row: np.random.randint(0, 255, (10, 12)).astype(np.uint8)
    assert "the image of slice s00 is another one when it is read again" in problems(dataset)[0]
    dataset = Good()
    dataset.change = lambda mask, row: (np.random.random(mask.shape) < 0.5).astype(np.uint8)
    assert "the mask of slice s00 is another one when it is read again" in problems(dataset)[0]


def test_a_wrong_empty_is_a_doubt_and_no_refusal():
    dataset = with_column("empty", False)
    assert problems(dataset) == []
    assert row_problems(dataset)[0].text == "'empty' of slice s00 is False, and its mask has no pixel of a class"


def test_a_reader_that_raises_is_told_with_its_slice_and_cause():
    dataset = Good()
    dataset.image = lambda row: [][row]
    first = row_problems(dataset)[0]
    assert first.text == "slice s00 cannot be read: IndexError: list index out of range"
    assert isinstance(first.cause, IndexError)
