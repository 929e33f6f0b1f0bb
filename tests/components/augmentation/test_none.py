"""The policy ``none``: the sample as it is; neither it nor the deck's policies need albumentations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gisegkit.components.augmentation.none import none

WITHOUT_ALBUMENTATIONS = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("albumentations", "albucore"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
import numpy as np
import gisegkit.workflows.train
from gisegkit.plugins import load_plugins

registries = load_plugins("none").registries
image, mask = np.ones((8, 8, 1), np.float32), np.zeros((8, 8, 1), np.uint8)
for name in registries["augmentation"]:
    if name != "albumentations":
        registries["augmentation"].get(name).load()(size=(8, 8))(image, mask, np.random.default_rng(0))
        print("made", name)
for name in registries["batch_transform"]:
    registries["batch_transform"].get(name).load()()
    print("made", name)
print(sorted({"albumentations", "segmentation_models_pytorch"} & set(sys.modules)))
"""


def test_none_gives_back_the_sample():
    rng = np.random.default_rng(0)
    image, mask = rng.random((6, 7, 3), np.float32), rng.integers(0, 2, (6, 7, 2), np.uint8)
    new_image, new_mask = none(size=(6, 7))(image[:, ::-1], mask[:, ::-1], rng)
    np.testing.assert_array_equal(new_image, image[:, ::-1])
    np.testing.assert_array_equal(new_mask, mask[:, ::-1])
    assert new_image.flags.c_contiguous
    assert new_mask.flags.c_contiguous


@pytest.mark.slow
def test_policies_that_are_not_albumentations_own_work_without_it():
    command, folder = [sys.executable, "-c", WITHOUT_ALBUMENTATIONS], Path(__file__).parents[3]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *made, imported = done.stdout.splitlines()
    assert {"made none", "made baseline", "made initial", "made final", "made final_device", "made mixup"} <= set(made)
    assert imported == "[]", "nor are networks imported that nobody asked for, which takes 2 seconds"
