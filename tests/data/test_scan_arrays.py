"""Arrays of a whole scan: above a limit in a file without a name, with the same values."""

from __future__ import annotations

import mmap
import tempfile

import numpy as np
import pytest

from gisegkit.data import scan_arrays
from gisegkit.engine.decision import Decision, decide_scans
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities
from gisegkit.errors import TrainingError

SHAPE = (3, 5, 7, 2)


def mapped(array):
    """Whether the values are in a file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.uint8])
def test_an_array_above_the_limit_is_mapped(monkeypatch, tmp_path, dtype):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    size = 3 * 5 * 7 * 2 * np.dtype(dtype).itemsize
    for limit in (size, size - 1):
        monkeypatch.setattr(scan_arrays, "LIMIT", limit)
        array = scan_arrays.new_array(SHAPE, dtype)
        assert type(array) is np.ndarray and array.shape == SHAPE and array.dtype == dtype
        assert mapped(array) == (limit < size)
        array[...] = 1
        assert array.all()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(TrainingError, match=r"1000000000 x 1000000 values takes .*TMPDIR"):
        scan_arrays.new_array((10**9, 10**6), np.float32)
    assert list(tmp_path.iterdir()) == []


class Sharpen:
    stage = "probabilities"

    def __call__(self, name):
        return name**2


def scans():
    values = np.random.default_rng(0).random((4, 6, 5, 3), dtype=np.float32)
    truth = (values > 0.5).astype(np.uint8)
    yield ScanProbabilities("a", range(4), (SliceProbabilities(d, values[d], truth[d]) for d in range(4)))


@pytest.mark.parametrize("steps", [(), (Sharpen(),)])
def test_masks_are_the_same_to_the_last_bit(monkeypatch, steps):
    (plain,) = decide_scans(scans(), Decision(0.3, steps), probabilities=True)
    monkeypatch.setattr(scan_arrays, "LIMIT", 100)
    (large,) = decide_scans(scans(), Decision(0.3, steps), probabilities=True)
    assert mapped(large.probabilities) and mapped(large.truth) and not mapped(plain.probabilities)
    for name in ("prediction", "truth", "probabilities"):
        assert np.array_equal(getattr(plain, name), getattr(large, name))
