"""Folders of images and masks as people have them, small."""

import cv2
import numpy as np
import pytest

from gisegkit.build.draft.facts import Facts


@pytest.fixture
def write(tmp_path):
    """Writes an image file under tmp_path: zeros of 8 x 8 pixels, or what is given."""

    def write(name, pixels=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((8, 8), dtype=np.uint8) if pixels is None else pixels
        assert cv2.imwrite(str(path), pixels)
        return path

    return write


FACTS = Facts(
    slices=100,
    labelled=100,
    scans=10,
    cases=10,
    looked=100,
    size=(256, 256),
    sizes=((256, 256), (256, 256)),
    stretch=1.0,
    step=1,
    neighbors=1.0,
    dtype="uint16",
    channels=1,
    low=0.0,
    high=4000.0,
    exposure=1.0,
    inside=(100.0, 2000.0),
    exclusive=False,
    shares={"liver": 0.1, "spleen": 0.02},
    present={"liver": 1.0, "spleen": 0.5},
    widths={"liver": 40.0, "spleen": 20.0},
    gap=100.0,
)


@pytest.fixture
def facts():
    """Facts of gray scans of ten cases, in which nothing is rare or fine."""
    return FACTS
