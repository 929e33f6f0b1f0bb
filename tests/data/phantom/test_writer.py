"""The phantom: its format to the letter, its anatomy, that thresholds do not solve it, and its dataset component."""

from __future__ import annotations

import csv
import itertools
import re
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest

from gisegkit.components.datasets.phantom import Phantom
from gisegkit.data.phantom.scan import Scan
from gisegkit.data.phantom.writer import write_phantom
from gisegkit.errors import DataError, RunError

CLASSES = ("large_bowel", "small_bowel", "stomach")
NAME = re.compile(r"slice_(\d{4})_(\d+)_(\d+)_1\.50_1\.50\.png")
HalfSize = Callable[[], AbstractContextManager[None]]
Scans = dict[str, tuple[list[np.ndarray], list[np.ndarray]]]
SMALL = {"cases": 2, "days": 2, "slices": 16, "seed": 3}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def decode(runs: str, height: int, width: int) -> np.ndarray:
    flat = np.zeros(height * width, dtype=bool)
    numbers = [int(word) for word in runs.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(height, width)


def read(root: Path, part: str = "train", table: str = "train.csv") -> Scans:
    """Images ``[H, W]`` and masks ``[H, W, 3]`` by scan, slices in order."""
    with (root / "train.csv").open(newline="") as file:
        runs = {(row["id"], row["class"]): row["segmentation"] for row in csv.DictReader(file)}
    scans: Scans = {}
    for path in sorted((root / "train").rglob("*.png")):
        found = NAME.fullmatch(path.name)
        assert found, path.name
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (int(found[3]), int(found[2]))  # the name gives width before height
        scan = path.parent.parent.name
        images, masks = scans.setdefault(scan, ([], []))
        images.append(image)
        parts = [decode(runs[f"{scan}_slice_{found[1]}", name], *image.shape) for name in CLASSES]
        masks.append(np.stack(parts, axis=2))
    return scans


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("phantom") / "small", **SMALL, test_cases=1)


@pytest.fixture(scope="module")
def scans(small: Path) -> Scans:
    return read(small)


@pytest.mark.slow
def test_same_parameters_give_the_same_bytes_and_another_seed_others(tmp_path: Path, half_size: HalfSize) -> None:
    def written(name: str, seed: int) -> dict[str, bytes]:
        return contents(write_phantom(tmp_path / name, cases=1, days=2, slices=16, seed=seed, test_cases=1))

    with half_size():
        one, again, other = written("one", 3), written("again", 3), written("other", 4)
    assert one == again and len(one) > 3 * 16
    middles = [[content[name] for name in sorted(content) if "slice_0008" in name] for content in (one, other)]
    assert len(middles[0]) == len(middles[1]) > 2
    assert all(before != after for before, after in zip(*middles, strict=True))


@pytest.mark.slow
def test_a_scan_depends_neither_on_the_number_of_cases_nor_of_days(small: Path, tmp_path: Path) -> None:
    one = contents(write_phantom(tmp_path / "one", cases=1, days=1, slices=16, seed=3) / "train")
    many = contents(small / "train")
    assert one
    assert one.items() <= many.items()


def test_tree_names_and_sixteen_bit_grey_files(small: Path) -> None:
    assert {path.name for path in small.iterdir()} == {
        "train", "test", "train.csv", "sample_submission.csv", "test_truth.csv",
    }  # fmt: skip
    files = [path.relative_to(small / "train") for path in sorted((small / "train").rglob("*.png"))]
    assert len(files) == 2 * 2 * 16
    for path in files:
        case, scan, folder, name = path.parts
        assert re.fullmatch(r"case\d+", case)
        assert re.fullmatch(case + r"_day\d+", scan)
        assert folder == "scans"
        assert NAME.fullmatch(name)
        header = (small / "train" / path).read_bytes()[:26]
        assert struct.unpack(">BB", header[24:26]) == (16, 0)  # bit depth, and color type grey
    assert len({path.parts[1] for path in files}) == 4
    assert {path.parts[3].split("_")[1] for path in files} == {f"{number:04d}" for number in range(1, 17)}


def test_tables_are_as_the_competition_has_them(small: Path) -> None:
    header, *rows = list(csv.reader((small / "train.csv").read_text().splitlines()))
    assert header == ["id", "class", "segmentation"]
    assert len(rows) == 2 * 2 * 16 * 3
    assert [row[1] for row in rows] == list(CLASSES) * (2 * 2 * 16)
    for scan, of_scan in itertools.groupby(rows, key=lambda row: row[0].split("_slice_")[0]):
        numbers = [row[0] for row in of_scan][::3]
        assert numbers == [f"{scan}_slice_{number:04d}" for number in range(1, 17)]
    assert (small / "sample_submission.csv").read_text() == "id,class,predicted\n"
    truth_header, *truth = list(csv.reader((small / "test_truth.csv").read_text().splitlines()))
    assert truth_header == ["id", "class", "segmentation", "width", "height"]
    assert len(truth) == 2 * 16 * 3
    assert {row[0] for row in truth}.isdisjoint({row[0] for row in rows})


def test_both_sizes_with_their_scanners_ranges(scans: Scans) -> None:
    limits = {(266, 266): (10_000, 15_000), (310, 360): (500, 1_900)}
    assert {image.shape for images, _ in scans.values() for image in images} == set(limits)
    for images, _ in scans.values():
        low, high = limits[images[0].shape]
        assert all(low <= image.max() <= high for image in images)


@pytest.mark.parametrize(("slices", "share"), [(16, (0.2, 0.45)), (96, (0.5, 0.62))])
@pytest.mark.slow
def test_both_ends_of_a_scan_are_empty(
    tmp_path: Path, half_size: HalfSize, slices: int, share: tuple[float, float]
) -> None:
    with half_size():  # of rows and columns, which decide nothing here
        root = write_phantom(tmp_path / "p", cases=2, days=1, slices=slices, seed=0)
    for _, masks in read(root).values():
        empty = [not mask.any() for mask in masks]
        assert empty[0]
        assert empty[-1]
        assert not any(empty[empty.index(False) : slices - empty[::-1].index(False)])
        assert share[0] <= np.mean(empty) <= share[1]


def test_organs_overlap_and_never_show_as_slivers(scans: Scans) -> None:
    masks = [mask for _, of_scan in scans.values() for mask in of_scan]
    assert sum((mask[..., 0] & mask[..., 1]).any() for mask in masks) >= 2
    assert sum((mask[..., 1] & mask[..., 2]).any() for mask in masks) >= 2
    areas = np.array([mask.sum(axis=(0, 1)) for mask in masks])
    assert areas[areas > 0].min() >= 200  # pixels


@pytest.mark.slow
def test_organs_are_as_large_as_the_competitions() -> None:
    """Medians of 22 real case-days, most of them 266 x 266: 1390, 1836 and 1132 pixels."""
    scans = [Scan(seed=0, case=case, day=0, slices=16) for case in (1, 3, 5, 7, 9, 11)]
    areas = np.array([scan.draw(position)[1].sum(axis=(0, 1)) for scan in scans for position in range(16)])
    medians = [np.median(column[column > 0]) for column in areas.T]
    assert np.allclose(medians, (1390, 1836, 1132), rtol=0.25)


def test_organs_move_between_days_within_one_body(scans: Scans) -> None:
    (first, first_masks), (second, second_masks) = [scan for name, scan in scans.items() if name.startswith("case1_")]
    for before, after in ((first_masks[8], second_masks[8]), (first_masks[10], second_masks[10])):
        present = before.any(axis=(0, 1)) & after.any(axis=(0, 1))
        assert present.any()
        common = (before & after).sum(axis=(0, 1))[present]
        assert np.all(2 * common < 0.97 * (before.sum(axis=(0, 1)) + after.sum(axis=(0, 1)))[present])
    bodies = [image > 0.25 * image.max() for image in (first[8], second[8])]
    closed = [cv2.morphologyEx(body.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((41, 41))) > 0 for body in bodies]
    assert 2 * (closed[0] & closed[1]).sum() > 0.93 * (closed[0].sum() + closed[1].sum())


def histograms(images: list[np.ndarray], masks: list[np.ndarray], bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels below each share of the slice's maximum: all ``[N, bins + 1]``, of the organs ``[N, K, bins + 1]``."""
    everywhere, organs = [], []
    for image, mask in zip(images, masks, strict=True):
        level = np.minimum((image / image.max() * bins).astype(int), bins - 1)
        counts = [
            np.bincount(level[where], minlength=bins) for where in (mask.any(axis=2) | True, *np.moveaxis(mask, 2, 0))
        ]
        sums = [np.concatenate([[0], np.cumsum(count)]) for count in counts]
        everywhere.append(sums[0])
        organs.append(np.stack(sums[1:]))
    return np.stack(everywhere), np.stack(organs)


def mean_dice(everywhere: np.ndarray, organ: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean slice Dice of predicting all pixels of an interval; slices empty in truth and prediction are left out."""
    predicted = everywhere[:, high] - everywhere[:, low]
    total = predicted + organ[:, -1:]
    dice = 2 * (organ[:, high] - organ[:, low]) / np.maximum(total, 1)
    return np.asarray(dice.sum(axis=0) / np.maximum((total > 0).sum(axis=0), 1))


@pytest.mark.slow
def test_no_intensity_threshold_solves_it(tmp_path: Path) -> None:
    """The best interval a class, one-sided ones among them, chosen on 4 cases and tried on 2 others."""
    bins = 100
    scans = read(write_phantom(tmp_path / "p", cases=6, days=1, slices=16, seed=0))
    held_out = [scan for name, scan in scans.items() if re.match(r"case[56]_", name)]
    training = [scan for name, scan in scans.items() if not re.match(r"case[56]_", name)]
    low, high = np.triu_indices(bins + 1, 1)
    tried = {
        part: histograms([i for images, _ in of for i in images], [m for _, masks in of for m in masks], bins)
        for part, of in (("train", training), ("test", held_out))
    }
    for index, name in enumerate(CLASSES):
        everywhere, organs = tried["train"]
        best = np.argmax(mean_dice(everywhere, organs[:, index], low, high))
        everywhere, organs = tried["test"]
        score = mean_dice(everywhere, organs[:, index], low[[best]], high[[best]])[0]
        assert 0 < score < 0.35, name


def test_what_is_in_the_way_stays_and_half_a_phantom_never_shows(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="in the way"):
        write_phantom(taken, cases=1, days=1, slices=8, seed=0)
    assert contents(tmp_path) == {"taken/mine.txt": b"mine"}

    def interrupted(items, label, total):  # type: ignore[no-untyped-def]
        yield next(iter(items))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "half", cases=2, days=1, slices=8, seed=0, progress=interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    (tmp_path / "empty").mkdir()
    assert (write_phantom(tmp_path / "empty", cases=1, days=1, slices=8, seed=0) / "train.csv").is_file()


@pytest.mark.parametrize(
    "wrong", [{"cases": 0}, {"days": 0}, {"slices": 7}, {"seed": -1}, {"test_cases": -1}, {"cases": 1001}]
)
def test_numbers_out_of_range_are_named(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"phantom: {} = {} ".format(*next(iter(wrong.items())))):
        write_phantom(tmp_path / "p", **{"cases": 1, "days": 1, "slices": 8, "seed": 0, **wrong})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_dataset_reads_what_the_generator_drew(tmp_path: Path) -> None:
    dataset = Phantom(cases=2, days=1, slices=8, seed=5, test_cases=1, cache=str(tmp_path))
    (root,) = tmp_path.iterdir()
    scans = read(root)
    labelled = dataset.table[dataset.table["labelled"]]
    assert len(labelled) == 16
    assert len(dataset.table) == 24
    assert dataset.classes == CLASSES
    assert not dataset.exclusive
    assert sum(dropped.slices for dropped in dataset.dropped) == 0
    for row, of in labelled.iterrows():
        images, masks = scans[of["scan"]]
        assert np.array_equal(dataset.image(row), images[of["position"] - 1])
        assert np.array_equal(dataset.mask(row).astype(bool), masks[of["position"] - 1])
