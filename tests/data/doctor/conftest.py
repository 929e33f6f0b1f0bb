"""A small data set in memory, with images that differ, into which a test plants one mistake."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisegkit.data.doctor.look import look_at
from gisegkit.data.doctor.seen import Seen

SIZE = 48


def make_picture(seed, dtype=np.uint8):
    """``[H, W]``: a smooth surface and a little noise, another one for each seed."""
    rng = np.random.default_rng(seed)
    basis = np.cos(np.arange(5)[:, None] * np.linspace(0, np.pi, SIZE))
    surface = basis.T @ rng.normal(size=(5, 5)) @ basis
    surface = (surface - surface.min()) / np.ptp(surface)
    return (surface * 200 + rng.normal(0, 2, surface.shape) + 20).clip(0, 255).astype(dtype)


class Data:
    """Four scans of 4 slices, two scans a case; class a is a square in the middle, class b a smaller one within."""

    classes = ("a", "b")
    exclusive = False
    dropped = ()

    def __init__(self):
        rows = [(f"s{scan}_{k}", f"s{scan}", k, f"c{scan // 2}") for scan in range(4) for k in range(4)]
        self.table = pd.DataFrame(rows, columns=["id", "scan", "position", "case"])
        self.table = self.table.assign(height=SIZE, width=SIZE, labelled=True, empty=False)
        self.images = [make_picture(seed) for seed in range(len(rows))]
        self.masks = [np.zeros((SIZE, SIZE, 2), np.uint8) for _ in rows]
        for number, mask in enumerate(self.masks):
            mask[12 : 30 + number % 4, 12:30, 0] = 1
            mask[14:20, 14 : 20 + number % 3, 1] = 1

    def image(self, row):
        return self.images[row]

    def mask(self, row):
        return self.masks[row]

    def seen(self, parts=None):
        facts, findings = look_at(self, range(len(self.table)))
        assert findings == []
        return Seen(self.table, self.classes, facts, self.mask, parts or {})


@pytest.fixture
def data():
    return Data()


@pytest.fixture
def picture():
    return make_picture


@pytest.fixture
def told():
    """Kind, severity and place of findings."""
    return lambda findings: [(finding.kind, finding.severity, finding.place) for finding in findings]
