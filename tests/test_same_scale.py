"""Training and validation see one scale: whatever the normalization and the augmentation, the same tissue is as bright.

Each image has one value under the mask and another elsewhere, and no two images have the same ones. An augmentation
moves both, so that what is under the mask, and what is not, must have the values that validation sees.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import tifffile

from gisegkit.build.session import Session
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe

RECIPE = """
name = "scale"
dataset = {{name = "folder", root = "{root}", labels = {{a = 1}}, names = "{{case}}_{{slice}}"}}
input = {{size = [48, 40], resize = "{resize}", store = "{store}", slices = {slices}}}
split.folds = 2
normalization = {{{normalization}}}
augmentation = {{{augmentation}}}
model.name = "unet"
loss = [{{name = "bce"}}]
optimizer.name = "adam"
"""

MASK = np.zeros((60, 50), dtype=np.uint8)
MASK[15:45, 12:38] = 1

POSITIVE = [(900 + 400 * k, 100 + 50 * k) for k in range(6)]
HOUNSFIELD = [(60.0 + 20 * k, -950.0 + 30 * k) for k in range(6)]
UNIT = [(0.9 - 0.05 * k, 0.1 + 0.02 * k) for k in range(6)]
"""Values under the mask and elsewhere, of each image."""

NORMALIZATIONS = [
    *(('name = "maximum", over = "{}"', over, POSITIVE, np.uint16) for over in ("slice", "stack", "scan")),
    *(('name = "percentile", over = "{}"', over, values, kind) for over, (values, kind) in itertools.product(
        ("slice", "scan"), ((POSITIVE, np.uint16), (HOUNSFIELD, np.float32)))),
    *(('name = "zscore", over = "{}"', over, HOUNSFIELD, np.float32) for over in ("slice", "stack", "scan")),
    ('name = "window", level = -400, width = 1400', "", HOUNSFIELD, np.float32),
    ('name = "dtype"', "", POSITIVE, np.uint16),
    ('name = "none"', "", HOUNSFIELD, np.float32),
    ('name = "none"', "", UNIT, np.float32),
]  # fmt: skip

NEVER = ", ".join(f"{step}_p = 0.0" for step in ("bias", "blur", "noise", "rician", "contrast", "gamma"))
AUGMENTATIONS = [
    'name = "none"',
    'name = "baseline", p = 1.0',
    'name = "initial", flip_p = 1.0, shift_scale_rotate_p = 1.0',
    'name = "final"',
    f'name = "intensity", {NEVER}',
    'name = "albumentations", steps = [{name = "HorizontalFlip", p = 1.0}, {name = "RandomRotate90", p = 0.0}]',
]


@pytest.fixture
def experiment(tmp_path):
    """Makes an experiment of a recipe on images of the given values."""
    plugins = load_plugins(selection="none")

    def make(values, kind, **more):
        for number, (inside, outside) in enumerate(values):
            for folder, image in (("images", np.where(MASK, inside, outside).astype(kind)), ("masks", MASK)):
                (tmp_path / folder).mkdir(exist_ok=True)
                ending, write = ("tif", tifffile.imwrite) if image.dtype.kind == "f" else ("png", cv2.imwrite)
                write(str(tmp_path / folder / f"c{number // 3}_{number % 3}.{ending}"), image)
        settings = {"resize": "stretch", "store": "off", "slices": 1} | more
        (tmp_path / "scale.toml").write_text(RECIPE.format(root=tmp_path.as_posix(), **settings))
        recipe = load_recipe(tmp_path / "scale.toml", registries=plugins.registries)
        return Session(plugins, "cpu").experiment(recipe)

    return make


def brightness(image, mask):
    """The median of each channel where the class is, and where it is not, ``[2, C]``."""
    inside = mask[0] == 1
    return np.array([np.median(image[:, part], axis=1) for part in (inside, ~inside)])


@pytest.mark.parametrize("normalization", NORMALIZATIONS, ids=lambda one: one[0].format(one[1]) + f" {one[3].__name__}")
@pytest.mark.slow
def test_training_and_validation_see_one_scale(experiment, normalization):
    text, over, values, kind = normalization
    compared = 0
    for number, augmentation in enumerate(AUGMENTATIONS):
        # every value of these settings meets every normalization, in turns
        more = {
            "resize": ("stretch", "fit")[number % 2],
            "slices": (1, 3)[number // 2 % 2],
            "store": ("off", "resized")[number % 3 == 2],
        }
        one = experiment(values, kind, normalization=text.format(over), augmentation=augmentation, **more)
        samples = one.samples
        for row in range(len(values)):
            expected = brightness(one.source.image(row).transpose(2, 0, 1), one.source.mask(row).transpose(2, 0, 1))
            for epoch in (1, 2):
                image, mask, _ = samples[epoch, row]
                if 0.05 < (mask[0] == 1).mean() < 0.95:  # else it was moved out
                    np.testing.assert_allclose(brightness(image, mask), expected, atol=1e-4 * np.ptp(expected))
                    compared += 1
    assert compared >= 30
