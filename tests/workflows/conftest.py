"""A small set of images whose folds train in a blink, for what several folds and ensembles do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gisegkit.build.session import Session
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe

FOLDS = """
name = "several"
split = {{folds = 3, fold = "all"}}
input = {{size = [32, 32], store = "off"}}
model = {{name = "r2unet", width = 2, depth = 2, steps = 1}}
loss = [{{name = "bce"}}]
optimizer = {{name = "adam", lr = 0.1}}
metric = [{{name = "dice"}}]
train = {{epochs = 3, batch_size = 2, micro_batch = 0, workers = 0}}
[dataset]
name = "folder"
root = "{root}"
labels = {{{labels}}}
pattern = "(?P<case>[a-z]\\\\d)_(?P<position>\\\\d)"
unlabelled = "more"
"""


def draw(folder, letter, *, cases, masked):
    """Cases of two slices, 24 x 20 pixels, with two labels; those that are not masked have no labels."""
    for case in range(cases):
        for position in range(2):
            rng = np.random.default_rng([ord(letter), case, position])
            labels = np.zeros((24, 20), np.uint8)
            y, x = rng.integers(0, 10, 2)
            labels[y : y + 9, x : x + 7] = 1
            labels[y + 9 : y + 14, x : x + 7] = 2
            name = f"{letter}{case}_{position}.png"
            image = labels * 80 + rng.integers(0, 25, labels.shape, np.uint8)
            for part, pixels in (("images" if case < masked else "more", image), ("masks", labels)):
                if part != "masks" or case < masked:
                    (folder / part).mkdir(parents=True, exist_ok=True)
                    assert cv2.imwrite(str(folder / part / name), pixels)


class Toy:
    """Recipes on the small set, and what a session of theirs says."""

    def __init__(self, folder):
        self.folder, self.lines = folder, []
        self.plugins = load_plugins(selection="none")

    def session(self, say=None):
        self.lines.clear()
        return Session(self.plugins, "cpu", say=say or self.lines.append)

    def recipe(self, *overrides, labels="a = 1, b = 2"):
        file = self.folder / "several.toml"
        file.write_text(FOLDS.format(root=(self.folder / "t").as_posix(), labels=labels))
        return load_recipe(file, registries=self.plugins.registries, overrides=overrides)

    def experiment(self, *overrides, say=None, **more):
        return self.session(say).experiment(self.recipe(*overrides, **more))

    def open(self, path, *overrides, command="evaluate"):
        return self.session().open_run(path, overrides=overrides, command=command)


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """Six labelled cases and one without labels; extra (e) and test (x) sets beside them."""
    folder = tmp_path_factory.mktemp("several")
    for letter, cases in (("t", 7), ("e", 2), ("x", 2)):
        draw(folder / letter, letter, cases=cases, masked=6 if letter == "t" else 2)
    return Toy(folder)


@pytest.fixture(scope="session")
def folds_run(several, tmp_path_factory):
    """A finished run of three folds with a refit."""
    from gisegkit.workflows.folds import run_folds

    return run_folds(several.experiment(), tmp_path_factory.mktemp("folds") / "run", refit=True)
