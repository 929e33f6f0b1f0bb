"""Masks of two values with smoothed edges are told from those of several values."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.build.draft.layouts import Layout
from gisegkit.build.draft.smoothed import smoothed, threshold_of

EDGES = {value: 5 for value in range(10, 250, 10)}


@pytest.mark.parametrize(
    ("pixels", "lossy", "threshold"),
    [
        ({0: 900, 255: 300} | EDGES, False, 128),
        ({0: 900, 200: 300} | {value: 5 for value in range(10, 200, 10)}, False, 100),
        ({0: 900, 255: 300}, False, 0),  # clean
        ({0: 900, 2: 9, 250: 20, 255: 300}, True, 128),
        ({0: 900, 2: 9, 127: 80, 255: 300}, True, 0),  # a third value
        ({0: 900, 255: 300, 127: 200} | EDGES, False, 0),
        ({0: 900} | dict.fromkeys(range(1, 61), 20), False, 0),  # numbers of objects
        ({0: 900, 255: 40} | dict.fromkeys(range(1, 21), 20), False, 0),  # classes, and pixels to ignore
        ({0: 900}, True, 0),
        ({}, False, 0),
    ],
)
def test_a_threshold_where_there_are_two_values(pixels, lossy, threshold):
    counts = np.zeros(256, dtype=np.int64)
    counts[list(pixels)] = list(pixels.values())
    assert threshold_of(counts, lossy=lossy) == threshold


def test_the_class_is_called_as_the_folder_and_beside_images_there_is_none(write):
    rows, columns = np.mgrid[:40, :40]
    soft = np.clip(255 * (14 - np.hypot(rows - 20, columns - 20)) / 4, 0, 255).astype(np.uint8)
    file = write("a.png", soft)
    for places, keys in (
        ({}, {"classes": ["masks"], "threshold": 128, "masks": "."}),
        ({"masks": "train/gt"}, {"classes": ["gt"], "threshold": 128, "masks": "train"}),
        ({"table": "pairs.csv"}, {"classes": ["mask"], "threshold": 128, "table": "pairs.csv"}),
    ):
        assert smoothed(Layout(places, (file,))).dataset == keys
    assert smoothed(Layout({"masks": "."}, (file,))) is None
    write("masks/liver/a.png", soft)
    places = {"root": str(file.parent), "classes": ["liver"]}
    assert smoothed(Layout(places)).dataset == places | {"threshold": 128}
