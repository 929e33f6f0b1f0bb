"""Kept probabilities: the nearest byte, read back in order, one slice at a time, and refused where damaged."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter, from_bytes, to_bytes
from gisegkit.engine.decision import Decision
from gisegkit.errors import RunError

SHAPE = (3, 4, 2)
FLOATS = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))


def write(path, scans, *, classes=("liver", "spleen"), exclusive=False, depth=None):
    """A file of scans: name to (ids, probabilities [D, h, w, K])."""
    with ProbabilityWriter(path, classes=classes, exclusive=exclusive) as writer:
        for name, (ids, values) in scans.items():
            writer.begin(name, depth=len(ids) if depth is None else depth, size=values.shape[1:3])
            for slice_id, value in zip(ids, values, strict=True):
                writer.write(slice_id, value)
    return path


def read(path):
    with ProbabilityReader(path) as reader:
        return {name: list(reader.slices(name)) for name in reader.scans}


@pytest.fixture
def scans():
    rng = np.random.default_rng(0)
    return {
        "c1/day0": (["a", "b", "c"], rng.random((3, 5, 7, 2), np.float32)),
        "c2": (["d"], rng.random((1, 9, 4, 2), np.float32)),
    }


def test_what_is_read_is_the_nearest_level_in_order(tmp_path, scans):
    with ProbabilityReader(write(tmp_path / "p.npz", scans, exclusive=True)) as reader:
        assert reader.classes == ("liver", "spleen") and reader.exclusive
        assert reader.scans == {name: tuple(ids) for name, (ids, _) in scans.items()}
        for name, (ids, values) in scans.items():
            found = list(reader.slices(name))
            assert [slice_id for slice_id, _ in found] == ids
            for (_, stored), value in zip(found, values, strict=True):
                assert stored.dtype == np.uint8 and stored.shape == value.shape
                assert np.abs(stored / 255 - value).max() <= 0.5 / 255 + 1e-7


def test_numpy_opens_the_file(tmp_path, scans):
    with np.load(write(tmp_path / "p.npz", scans)) as found:
        for name, (_, values) in scans.items():
            assert (found[name] == np.rint(values * 255).transpose(0, 3, 1, 2)).all()


def test_every_level_comes_back():
    every = np.arange(256, dtype=np.uint8)
    assert (to_bytes(from_bytes(every)) == every).all()


@given(FLOATS, st.floats(0.002, 0.998), st.sampled_from([0.0, 0.3, 0.7]))
@pytest.mark.slow
def test_a_decision_lies_between_those_half_a_step_above_and_below(values, threshold, presence):
    """What is decided of bytes lies between what a threshold half a step higher and lower decides of the floats."""
    half = 0.5 / 255 + 1e-6  # and a rounding of float32
    kept = Decision(threshold, presence=presence).slice(from_bytes(to_bytes(values)))
    strict = Decision(threshold + half, presence=presence + half if presence else 0.0).slice(values)
    loose = Decision(threshold - half, presence=presence - half if presence else 0.0).slice(values)
    assert (strict <= kept).all() and (kept <= loose).all()


def test_memory_does_not_depend_on_the_number_of_scans(tmp_path):
    def peak(count):
        values = np.zeros((2, 64, 64, 2), np.float32)
        tracemalloc.start()
        file = write(tmp_path / f"{count}.npz", {f"s{at}": ([f"{at}a", f"{at}b"], values) for at in range(count)})
        with ProbabilityReader(file) as reader:
            for name in reader.scans:
                for _ in reader.slices(name):
                    pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    few, many = peak(5), peak(50)
    assert many - few < 45 * 2000  # names and ids, and what the zip file's list of contents holds; a scan is 16 KiB


@pytest.mark.parametrize(("depth", "words"), [(2, "1 slices less"), (0, "one more")])
def test_more_or_fewer_slices_than_announced_are_a_defect(tmp_path, depth, words):
    scan = {"s": (["a"], np.zeros((1, 4, 4, 2), np.float32))}
    with pytest.raises(RuntimeError, match=words):
        write(tmp_path / "p.npz", scan, depth=depth)


@pytest.mark.parametrize("where", [0.3, 0.9])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, scans, where):
    file = write(tmp_path / "p.npz", scans)
    content = bytearray(file.read_bytes())
    start = int(len(content) * where)
    content[start : start + 40] = bytes(40)
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"p\.npz cannot be read .*giseg evaluate predicts it anew"):
        read(file)


def test_a_file_that_is_missing_or_of_another_format_is_refused(tmp_path, scans, monkeypatch):
    with pytest.raises(RunError, match="cannot be read"):
        ProbabilityReader(tmp_path / "none.npz")
    monkeypatch.setattr("gisegkit.data.probability_file.FORMAT", 9)
    file = write(tmp_path / "p.npz", scans)
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"format 9, and this gisegkit reads format 1"):
        ProbabilityReader(file)
