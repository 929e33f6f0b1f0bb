"""giseg run: one experiment from training to prediction; each part is built once, and each data file is opened once."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from gisegkit.build.session import Session
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.workflows.run import run_recipe

PARTS = """
name = "parts"
input = {{size = [32, 32], store = "{store}"}}
split.folds = 2
dataset = {{name = "folder", root = "{root}", labels = {{a = 1}}, pattern = "(?P<case>c\\\\d)_(?P<position>\\\\d)"}}
model = {{name = "r2unet", width = 2, depth = 2, steps = 1}}
loss = [{{name = "bce"}}, {{name = "dice"}}]
batch_transform = [{{name = "mixup"}}]
optimizer = {{name = "sgd", lr = 0.01}}
metric = [{{name = "dice"}}, {{name = "iou"}}]
postprocess = [{{name = "min_area", pixels = 2}}]
train = {{epochs = 2, batch_size = 2, micro_batch = 0, workers = 0, activation_checkpointing = "off"}}
"""


@pytest.fixture
def data(tmp_path):
    """Four cases of three slices, a folder of label files, and one folder without labels."""
    rng = np.random.default_rng(0)
    for case in range(4):
        for position in range(3):
            mask = (rng.random((24, 20)) < 0.3).astype(np.uint8)
            for part, pixels in (("images", mask * 150 + 20), ("masks", mask)):
                (tmp_path / "data" / part).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(tmp_path / "data" / part / f"c{case}_{position}.png"), pixels)
    time.sleep(0.05)  # data are older than the tick of a file system's clock, see gisegkit/data/files.py
    return tmp_path / "data"


WATCHED: list = []
"""Where opened files are noted; an audit hook cannot be taken away again."""


def note(event, arguments):
    if WATCHED and event == "open" and isinstance(arguments[0], str | os.PathLike):
        WATCHED[-1].append(os.fspath(arguments[0]))


sys.addaudithook(note)


@pytest.fixture
def opened(monkeypatch):
    """The paths of files that this process opens, with those that OpenCV opens by itself."""
    paths, imread = [], cv2.imread
    monkeypatch.setattr(cv2, "imread", lambda path, *more: paths.append(str(path)) or imread(path, *more))
    WATCHED.append(paths)
    yield paths
    WATCHED.pop()


@pytest.fixture
def load(tmp_path, data):
    """The recipe on these data, and a session."""

    def load(store):
        plugins = load_plugins(selection="none")
        (tmp_path / "parts.toml").write_text(PARTS.format(root=data.as_posix(), store=store))
        recipe = load_recipe(tmp_path / "parts.toml", registries=plugins.registries)
        return Session(plugins, "cpu").experiment(recipe)

    return load


@pytest.mark.slow
def test_each_part_is_built_once_from_training_to_prediction(load, tmp_path, monkeypatch):
    from gisegkit.build import data, datasets

    built, build = Counter(), data.build_component

    def counted(spec, *more, **given):
        built[spec.kind, spec.name] += 1
        return build(spec, *more, **given)

    for module in (data, datasets):
        monkeypatch.setattr(module, "build_component", counted)
    experiment = load("resized")
    run_recipe(experiment, tmp_path / "run")
    wanted = [(spec.kind, spec.name) for spec in experiment.recipe.components()]
    assert len(wanted) == 13 and built == dict.fromkeys(wanted, 1)


@pytest.mark.parametrize("store", ["off", "resized"])
def test_up_to_the_first_batch_each_data_file_is_opened_once(load, data, tmp_path, monkeypatch, opened, store):
    from gisegkit.components.losses.ratios import BCE

    class FirstBatchError(Exception):
        pass

    def stop(self, *_):
        raise FirstBatchError

    monkeypatch.setattr(BCE, "forward", stop)
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FirstBatchError):
        run_recipe(load(store), tmp_path / "run")
    counts = Counter(path for path in map(os.path.abspath, opened) if Path(path).is_relative_to(data))
    assert counts and max(counts.values()) == 1, counts.most_common(3)
