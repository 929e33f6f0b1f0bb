"""Resuming meets everything else: data that changed, damaged files, other settings, a second process."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from gisegkit.errors import RunError
from gisegkit.recipe import load_recipe
from gisegkit.run import train
from gisegkit.rundir import RunDir
from gisegkit.session import Session

RECIPE = """
name = "toy"
[dataset]
name = "folder"
root = "{root}"
labels = {{square = 1, block = 2}}
background = [0]
pattern = '(?P<group>p\\d+)_(?P<position>\\d+)'
[input]
size = [32, 32]
normalize = "dtype"
store = "off"
[split]
folds = 3
[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
decoder_channels = [32, 16, 16, 8, 8]
[[loss]]
name = "bce"
[optimizer]
name = "adam"
[train]
epochs = 2
batch_size = 4
micro_batch = 0
[[metric]]
name = "dice"
"""


def add_slice(root, name):
    rng = np.random.default_rng(list(name.encode()))
    labels = np.zeros((32, 32), np.uint8)
    y, x = rng.integers(0, 16, 2)
    labels[y : y + 9, x : x + 12] = 1
    labels[y + 9 : y + 16, x : x + 9] = 2
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    cv2.imwrite(
        str(root / "images" / f"{name}.png"), (labels * 90 + rng.integers(0, 30, labels.shape)).astype(np.uint8)
    )
    cv2.imwrite(str(root / "masks" / f"{name}.png"), labels)


class Killed(Exception):
    pass


def killer(session, start):
    """A session that dies when a line with this start is said."""

    def say(line):
        if line.startswith(start):
            raise Killed

    return Session(session.plugins, "cpu", say=say)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, session):
    """A run of two epochs that was killed after the first, and its data."""
    folder = tmp_path_factory.mktemp("kept")
    for case in range(6):
        for position in range(2):
            add_slice(folder / "data", f"p{case}_{position}")
    (folder / "toy.toml").write_text(RECIPE.format(root=(folder / "data").as_posix()))
    chosen = load_recipe(folder / "toy.toml", registries=session.plugins.registries)
    with pytest.raises(Killed):
        train(chosen, folder / "run", killer(session, "epoch 1/"))
    return folder


class Toy:
    """A copy of the killed run and its data, to be damaged."""

    def __init__(self, folder, session):
        self.path, self.data, self.file = folder / "run", folder / "data", folder / "toy.toml"
        self.session, self.lines = session, []
        self.run = RunDir(self.path)

    def recipe(self, *sets):
        return load_recipe(self.file, registries=self.session.plugins.registries, overrides=sets)

    def resume(self, *sets, out=None):
        self.lines.clear()
        speaking = Session(self.session.plugins, "cpu", say=self.lines.append)
        return train(self.recipe(*sets), out or self.path, speaking, resume=True)

    def edit_recipes(self, old, new):
        """The same change in the recipe and in the run's own, as a user who edits both would make it."""
        for file in (self.file, self.path / "recipe.toml"):
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def toy(kept, tmp_path, session):
    shutil.copytree(kept, tmp_path / "copy")
    found = Toy(tmp_path / "copy", session)
    found.edit_recipes((kept / "data").as_posix(), found.data.as_posix())
    return found


# --- data that changed ----------------------------------------------------------------------------------------------


def test_a_resumed_run_keeps_its_parts(toy):
    before = (toy.path / "split.csv").read_bytes()
    run = toy.resume()
    assert [entry["epoch"] for entry in run.metrics()] == [1, 2]
    assert (toy.path / "split.csv").read_bytes() == before


def test_a_resume_refuses_new_slices_and_names_them(toy):
    for position in range(7):
        add_slice(toy.data, f"p9_{position}")
    with pytest.raises(
        RunError, match=r"7 slices are not in split\.csv: p9_0, .*and 2 more[\s\S]*Restore the data.*--out"
    ):
        toy.resume()
    assert [entry["epoch"] for entry in toy.run.metrics()] == [1]


def test_a_resume_refuses_slices_that_are_gone_or_lost_their_labels(toy):
    (toy.data / "images" / "p1_0.png").unlink()
    (toy.data / "masks" / "p1_0.png").unlink()
    with pytest.raises(RunError, match=r"1 slice is in split\.csv, but not in the data: p1_0"):
        toy.resume()


def test_a_resume_draws_no_folds_anew(toy, monkeypatch):
    """Another scikit-learn may draw other folds from the same table."""
    monkeypatch.setattr("gisegkit.build.split_rows", lambda *_, **__: pytest.fail("folds were drawn anew"))
    toy.resume()


@pytest.mark.parametrize("damage", ["missing", "swapped", "cut", "empty", "binary", "columns"])
def test_a_resume_refuses_a_split_that_is_not_the_runs(toy, damage):
    file = toy.path / "split.csv"
    text = file.read_text()
    if damage == "missing":
        file.unlink()
    elif damage == "swapped":
        swapped = text.replace(",train", ",x").replace(",validation", ",train").replace(",x", ",validation")
        file.write_text(swapped)
    elif damage == "cut":
        file.write_text("".join(text.splitlines(keepends=True)[:-3]))
    elif damage == "empty":
        file.write_text("")
    elif damage == "binary":
        file.write_bytes(bytes(range(256)))
    else:
        file.write_text(text.replace("id,part", "slice,part"))
    with pytest.raises(RunError, match=r"split\.csv") as error:
        toy.resume()
    assert "\n" not in str(error.value)


def test_the_order_of_the_split_is_no_difference(toy):
    head, *rows = (toy.path / "split.csv").read_text().splitlines()
    (toy.path / "split.csv").write_text("\n".join([head, *rows[::-1]]) + "\n")
    assert len(toy.resume().metrics()) == 2
