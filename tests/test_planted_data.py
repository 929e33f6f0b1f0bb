"""Faults planted in a folder of the competition, one by one: ``giseg data`` finds each with its place, and no other.

The exit code is 1 where training would be wrong. tests/test_odd_files.py plants the same kinds in folders of images.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.cli import main
from gisegkit.components.datasets.phantom import Phantom
from gisegkit.data import rle

RECIPE = """
name = "planted"
[dataset]
name = "uwmgi"
root = "{root}"
[input]
size = [32, 32]
store = "off"
[split]
folds = 2
[model]
name = "unet"
[[loss]]
name = "bce"
[optimizer]
name = "adam"
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory, half_size):
    """A phantom of four cases with ten slices each, and one test case."""
    home = tmp_path_factory.mktemp("clean")
    with half_size():
        return Path(Phantom(cases=4, days=1, slices=10, test_cases=1, cache=str(home)).root)


class Folder:
    """A copy of the phantom."""

    def __init__(self, root):
        self.root = root
        self.cases = sorted(path.name for path in (root / "train").iterdir())

    def scan(self, case, part="train"):
        (found,) = (self.root / part / case).iterdir()
        return found

    def slices(self, case, part="train"):
        return sorted((self.scan(case, part) / "scans").iterdir())

    def read(self, path):
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)

    def write(self, path, image, *, form=".png"):
        path.write_bytes(cv2.imencode(form, image)[1].tobytes())

    def name(self, path):
        """The id of a slice's file."""
        return f"{path.parent.parent.name}_{'_'.join(path.stem.split('_')[:2])}"

    @property
    def table(self):
        return pd.read_csv(self.root / "train.csv", keep_default_na=False)

    def keep(self, table):
        table.to_csv(self.root / "train.csv", index=False)

    def change(self, rule):
        """Give each row of train.csv other runs: of its id, class, runs, and the image's size."""
        sizes = {
            self.name(path): [int(part) for part in path.stem.split("_")[2:4]]
            for path in self.root.glob("train/*/*/scans/*")
        }
        table = self.table
        table["segmentation"] = [
            rule(*row, *sizes[row[0]]) for row in table[["id", "class", "segmentation"]].itertuples(index=False)
        ]
        self.keep(table)


def constant(folder):
    path = folder.slices(folder.cases[0])[0]
    folder.write(path, np.full_like(folder.read(path), 7))
    return folder.name(path)


def constant_under_a_mask(folder):
    labelled = set(folder.table.loc[folder.table["segmentation"] != "", "id"])
    path = next(path for path in folder.slices(folder.cases[0]) if folder.name(path) in labelled)
    folder.write(path, np.full_like(folder.read(path), 7))
    return folder.name(path)


def noise(folder):
    path = folder.slices(folder.cases[1])[3]
    image = folder.read(path)
    folder.write(path, np.random.default_rng(0).integers(0, 900, image.shape).astype(image.dtype))
    return folder.name(path)


def missing_number(folder):
    path = folder.slices(folder.cases[2])[4]
    name = folder.name(path)
    path.unlink()
    folder.keep(folder.table[folder.table["id"] != name])
    return folder.scan(folder.cases[2]).name


def absent_class(folder):
    folder.change(lambda name, kind, runs, width, height: "" if kind == "stomach" else runs)
    return "stomach"


def columns(folder):
    def along(name, kind, runs, width, height):
        return rle.encode(rle.decode(runs, height=height, width=width).T.copy())

    folder.change(along)
    return "train.csv"


def whole_slice(folder):
    name = folder.name(folder.slices(folder.cases[0])[5])

    def fill(one, kind, runs, width, height):
        return f"1 {width * height}" if (one, kind) == (name, "large_bowel") else runs

    folder.change(fill)
    return name


def one_mask(folder):
    runs = dict(
        zip(zip(folder.table["id"], folder.table["class"], strict=True), folder.table["segmentation"], strict=True)
    )
    folder.change(lambda name, kind, own, width, height: runs[name, "large_bowel"] if kind == "small_bowel" else own)
    return "large_bowel and small_bowel"


def copied(folder, source, target):
    target.write_bytes(source.read_bytes())
    return folder.name(target)


def same_in_scan(folder):
    first = folder.slices(folder.cases[0])
    return copied(folder, first[2], first[7])


def same_in_cases(folder):
    """Cases 1 and 3 have slices of one size, as the odd ones have."""
    return copied(folder, folder.slices("case1")[4], folder.slices("case3")[4])


def copied_scan(folder):
    for source, target in zip(folder.slices("case1"), folder.slices("case3"), strict=True):
        copied(folder, source, target)
    return folder.scan("case3").name


def test_is_train(folder):
    (test,) = sorted(path.name for path in (folder.root / "test").iterdir())
    there = folder.slices(test, "test")
    same = next(
        case for case in folder.cases if folder.read(folder.slices(case)[0]).shape == folder.read(there[0]).shape
    )
    return copied(folder, folder.slices(same)[5], there[5])


test_is_train.__test__ = False


def jpeg(folder):
    path = folder.slices(folder.cases[0])[1]
    folder.write(path, (folder.read(path) / 16).astype(np.uint8), form=".jpg")
    return path.name


def shallow(folder):
    path = folder.slices(folder.cases[0])[1]
    folder.write(path, (folder.read(path) / 16).astype(np.uint8))
    return folder.name(path)


def broken_folder(folder):
    scan = folder.scan(folder.cases[0])
    scan.rename(scan.with_name(scan.name.replace("day", "visit")))
    return "visit"


def other_case(folder):
    scan = folder.scan("case1")
    shutil.move(scan, folder.root / "train" / "case3" / scan.name)
    return f"case3/{scan.name}"


def stray(folder):
    (folder.root / "train" / "case1" / "notes.txt").write_text("x")
    return "notes.txt"


def spacing(folder):
    path = folder.slices(folder.cases[0])[3]
    parts = path.stem.split("_")
    path.rename(path.with_name("_".join([*parts[:4], "2.75", "2.75"]) + ".png"))
    return folder.scan(folder.cases[0]).name


def upper_case(folder):
    path = folder.slices(folder.cases[0])[3]
    path.rename(path.with_suffix(".PNG"))
    return ""


def without_empty_rows(folder):
    folder.keep(folder.table[folder.table["segmentation"] != ""])
    return "train.csv"


def cut_table(folder):
    lines = (folder.root / "train.csv").read_text().splitlines()
    (folder.root / "train.csv").write_text("\n".join(lines[: len(lines) // 2]) + "\n" + lines[len(lines) // 2][:20])
    return f"line {len(lines) // 2 + 1}"


def link_out(folder):
    path = folder.slices(folder.cases[1])[6]
    outside = folder.root.parent / "elsewhere.png"
    path.rename(outside)
    path.symlink_to(outside)
    return path.name


def pipe(folder, place=4):
    path = folder.slices(folder.cases[1])[place]
    path.unlink()
    os.mkfifo(path)
    return path.name


def pipe_first(folder):
    """Of a scan's first slice the header is read before any other."""
    return pipe(folder, 0)


class Plant(NamedTuple):
    """A fault: what plants it and gives its place, how its kind is called, and the exit code."""

    plant: object
    kind: str
    code: int = 0


PLANTS = [
    Plant(constant, "warning: constant image"),
    Plant(constant_under_a_mask, "error: mask on a constant image", 1),
    Plant(noise, "warning: noise"),
    Plant(missing_number, "warning: missing slice numbers"),
    Plant(absent_class, "warning: class that never occurs"),
    Plant(columns, "error: runs along the columns", 1),
    Plant(whole_slice, "warning: class that fills a slice"),
    Plant(one_mask, "error: two classes with one mask", 1),
    Plant(same_in_scan, "same image twice"),
    Plant(same_in_cases, "error: same image in two cases", 1),
    Plant(copied_scan, "error: copied scan", 1),
    Plant(test_is_train, "warning: same image with and without labels"),
    Plant(jpeg, "error: unreadable slice", 1),
    Plant(shallow, "warning: depth"),
    Plant(broken_folder, "warning: folder that breaks the pattern"),
    Plant(other_case, "warning: scan in another case's folder"),
    Plant(stray, "file that is passed over"),
    Plant(spacing, "warning: spacing within a scan"),
    Plant(without_empty_rows, "error: rows of empty masks dropped", 1),
    Plant(cut_table, "error: ", 2),
    Plant(link_out, "error: link out of the data", 1),
    Plant(pipe, "error: ", 1),
    Plant(pipe_first, "error: ", 2),
]


@pytest.fixture
def giseg_data(tmp_path, clean, capsys):
    """Plants a fault into a copy and runs ``giseg data``; gives the place, the exit code and the output."""

    def run(plant=None):
        shutil.copytree(clean, tmp_path / "data")
        place = plant(Folder(tmp_path / "data")) if plant else ""
        (tmp_path / "recipe.toml").write_text(RECIPE.format(root=(tmp_path / "data").as_posix()))
        with pytest.raises(SystemExit) as ended:
            main(["data", str(tmp_path / "recipe.toml")])
        captured = capsys.readouterr()
        return place, ended.value.code or 0, captured.out + captured.err

    return run


def kinds_in(output):
    return [line for line in output.splitlines() if line.startswith(("error: ", "warning: "))]


def test_clean_data_have_no_findings(giseg_data):
    _, code, output = giseg_data()
    assert (code, kinds_in(output)) == (0, []), output
    assert "nothing found" in output.splitlines()[-1]


@pytest.mark.parametrize("planted", PLANTS, ids=lambda planted: planted.plant.__name__)
@pytest.mark.slow
def test_a_planted_fault_is_found_with_its_place(planted, giseg_data):
    place, code, output = giseg_data(planted.plant)
    lines = [line for line in kinds_in(output) if planted.kind in line]
    assert lines, output
    assert place in lines[0]
    assert code == planted.code, output


def test_endings_in_upper_case_are_read(giseg_data):
    _, code, output = giseg_data(upper_case)
    assert (code, kinds_in(output)) == (0, []), output
    assert "40 labelled" in output
