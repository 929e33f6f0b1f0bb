"""Several datasets as one: rows of each keep their image, mask and sources; what they share is refused by name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gisegkit.components.datasets.folder import Folder
from gisegkit.data.joined import JoinedDataset
from gisegkit.errors import DataError
from gisegkit.testing import check_dataset

SIZE = (20, 24)
PATTERN = r"(?P<case>[a-z]+\d)_(?P<position>\d)"


@pytest.fixture
def make(tmp_path):
    """Makes a folder of two cases with two slices each, named by a letter, and gives it as a dataset."""

    def make(letter, *, labels=(("liver", 1), ("spleen", 2)), channels=1, unlabelled=False):
        rng, root = np.random.default_rng(ord(letter[0])), tmp_path / letter
        for case in range(2):
            for position in range(2):
                name = f"{letter}{case}_{position}.png"
                mask = rng.integers(0, 3, SIZE).astype(np.uint8)
                image = rng.integers(1, 255, SIZE if channels == 1 else (*SIZE, channels)).astype(np.uint8)
                for part, pixels in (("images", image), ("masks", mask)):
                    (root / part).mkdir(parents=True, exist_ok=True)
                    assert cv2.imwrite(str(root / part / name), pixels)
        return Folder(root=str(root), labels=dict(labels), pattern=PATTERN)

    return make


def joined(*datasets):
    pairs = zip(("train", "extra", "test"), datasets, strict=False)
    return JoinedDataset([(f"r.toml:{at}", role, one) for at, (role, one) in enumerate(pairs)])


def test_rows_are_those_of_each_dataset(make):
    """In the order of scans and positions, whatever the order of the datasets."""
    datasets = {"b": make("b"), "c": make("c"), "a": make("a")}
    one = joined(*datasets.values())
    check_dataset(one)
    assert one.table["id"].tolist() == [f"{letter}{case}_{at}" for letter in "abc" for case in (0, 1) for at in (0, 1)]
    assert one.roles.tolist() == ["test"] * 4 + ["train"] * 4 + ["extra"] * 4
    for row, name in enumerate(one.table["id"]):
        own = datasets[name[0]]
        place = own.table["id"].tolist().index(name)
        np.testing.assert_array_equal(one.image(row), own.image(place))
        np.testing.assert_array_equal(one.mask(row), own.mask(place))
        assert one.sources(row) == own.sources(place)
    assert one.root == datasets["b"].root and one.exclusive and not one.may_ignore


def test_classes_may_overlap_if_those_of_one_dataset_do(make):
    first, other = make("a"), make("b")
    other.exclusive = False
    assert not joined(first, other).exclusive


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((("liver", 1), ("kidney", 2)), "r.toml:1 has the classes liver, kidney, r.toml:0 has liver, spleen"),
        ((("spleen", 1), ("liver", 2)), "has the classes spleen, liver, .*the same classes in the same order"),
    ],
)
def test_other_classes_are_refused(make, labels, message):
    with pytest.raises(DataError, match=message):
        joined(make("a"), make("b", labels=labels))


def test_other_channels_are_refused(make):
    with pytest.raises(DataError, match=r"r.toml:1 has images of 3 channels, r.toml:0 of 1"):
        joined(make("a"), make("b", channels=3))


def test_what_is_in_two_datasets_is_refused_by_name(make):
    first = make("a")
    with pytest.raises(DataError, match=r"r.toml:0 and r.toml:1 share 4 slices: a0_0, a0_1, a1_0, a1_1; if they are"):
        joined(first, make("a"))
    other = make("b")
    other.table["scan"] = ["a0", "a0", "b1", "b1"]
    with pytest.raises(DataError, match=r"r.toml:0 and r.toml:1 share 1 scan: a0;"):
        joined(first, other)
    other.table["scan"] = ["b0", "b0", "b1", "b1"]
    other.table["case"] = ["b0", "b0", "a1", "a1"]
    with pytest.raises(DataError, match="share 1 case: a1;"):
        joined(first, other)


def test_a_dataset_without_sources_takes_the_store_away(make):
    class Plain:
        def __init__(self, own):
            self.own = own
            self.table, self.classes, self.exclusive, self.dropped = own.table, own.classes, True, ()
            self.image, self.mask = own.image, own.mask

    one = joined(make("a"), Plain(make("b")))
    assert not hasattr(one, "sources") and not hasattr(one, "root") and one.may_ignore
