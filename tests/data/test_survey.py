"""What ``giseg data`` counts, on a dataset small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisegkit.components.normalizations import Maximum, Percentile, Window, ZScore
from gisegkit.data.survey import describe, survey
from gisegkit.errors import DataError
from gisegkit.types import IGNORE, Dropped

ADVICE = "and it has a mask; copy the image again, or leave it out"


class Tiny:
    """Five slices: both classes overlapping, one class, none, one whose image cannot be read, one unlabelled."""

    classes = ("a", "b")
    exclusive = False
    dropped = (Dropped("known bad scans", 7),)

    def __init__(self):
        self.table = pd.DataFrame(
            {
                "id": ["s0", "s1", "s2", "s3", "s4"],
                "scan": ["v0", "v0", "v1", "v1", "v2"],
                "position": [0, 1, 0, 1, 0],
                "case": ["g0", "g0", "g1", "g1", "g2"],
                "height": 4,
                "width": [5, 5, 5, 5, 6],
                "labelled": [True, True, True, True, False],
                "empty": [False, False, True, False, False],
            }
        )

    def image(self, row):
        if row == 3:
            raise DataError("s3.png: cannot be decoded; copy it again")
        image = np.full((4, int(self.table["width"][row])), 10 * (row + 1), np.uint16)
        return image if row != 2 else np.zeros_like(image)

    def mask(self, row):
        mask = np.zeros((4, 5, 2), np.uint8)
        if row == 0:
            mask[:2, :, 0] = 1
            mask[1:3, :, 1] = 1
        if row == 1:
            mask[0, 0, 0] = 1
            mask[3] = IGNORE
        return mask

    def defects(self):
        yield "s9: train.csv has no file of this id"


@pytest.fixture
def found():
    return survey(Tiny())


def test_counts(found):
    assert found.slices_with == {"a": 2, "b": 1}
    assert found.pixels_with == {"a": 11, "b": 10}
    assert found.overlaps == {("a", "b"): 1}
    assert found.ignored == 5
    assert found.labelled_pixels == 80
    assert found.ranges == {(4, 5, "uint16"): (0.0, 20.0), (4, 6, "uint16"): (50.0, 50.0)}


def test_everything_found_is_listed_and_stops_nothing(found):
    assert [(finding.severity, str(finding)) for finding in found.findings if finding.kind != "copied scan"] == [
        ("error", "s3: s3.png: cannot be decoded; copy it again"),
        ("error", f"s0: all pixels of the image have the value 10, {ADVICE}"),
        ("error", f"s1: all pixels of the image have the value 20, {ADVICE}"),
        ("warning", "s2: the image is black; copy it again, if it should show something"),
        ("warning", "s4: all pixels of the image have the value 50; copy it again, if it should show something"),
        ("warning", "s9: train.csv has no file of this id"),
    ]  # fmt: skip


def test_lines(found):
    text = "\n".join(describe(Tiny(), found))
    assert "3 cases, 3 scans, 5 slices: 4 labelled, 1 not" in text
    assert "4 x 5: 4, 4 x 6: 1" in text
    assert "left out: 7 slices (known bad scans)" in text
    assert "without any class: 1 (25.0%)" in text
    assert "a: in 2 slices (50.0%), 13.75% of all pixels" in text
    assert "overlap of a and b: in 1 slice" in text
    assert "ignored pixels: 5" in text


def test_quick_lines_need_no_survey():
    assert "sizes" in "\n".join(describe(Tiny(), None))


class Mixed(Tiny):
    """Grey and color, a defect of the plugin, and negative values."""

    def image(self, row):
        if row == 2:
            raise ValueError("brightness 7")
        image = np.full((4, 5), -3, np.int16)
        return image if row != 3 else image[:, :, None].repeat(3, axis=2)


def test_channels_that_differ_and_defects_of_plugins_are_listed_too():
    found = [str(finding) for finding in survey(Mixed(), normalization=Maximum()).findings]
    assert sum("its values, -3 to -3, would become -3 to -3, and only 0 to 1 is valid" in line for line in found) == 4
    for other in (None, Percentile(), ZScore(), Window(level=0, width=2)):
        lines = map(str, survey(Mixed(), normalization=other).findings)
        assert not any("its values" in line for line in lines)
    assert sum("image(2) raised ValueError for slice s2: brightness 7" in line for line in found) == 1
    (channels,) = [finding for finding in survey(Mixed()).findings if finding.kind == "channels"]
    assert channels.severity == "error" and channels.ids == ("s3",)
    assert "1 image has 3 channels, 3 1 channel" in channels.what
