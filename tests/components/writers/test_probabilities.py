"""The writer ``probabilities``: compressed arrays, scan by scan, without holding a scan."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gisegkit.components.writers.probabilities import Probabilities
from gisegkit.data.output import Output, PredictionFacts, SliceFacts

CLASSES = ("liver", "spleen")


def write(folder, values, scans, *, dtype="float16"):
    """Write slices ``[N, H, W, K]`` of the scans with these numbers of slices; gives what the writer says."""
    writer = Probabilities(dtype=dtype)
    with Output(folder) as out:
        writer.begin(PredictionFacts("r", "run", CLASSES, exclusive=False, slices=len(values)), out)
        number = 0
        for scan, depth in scans.items():
            for index in range(depth):
                facts = SliceFacts(
                    f"{scan}_{index}", scan, 3 * index, scan, *values.shape[1:3], index=index, depth=depth
                )
                writer.write(facts, values[number] > 0.5, values[number])
                number += 1
        return writer.finish()


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("float16", 2.0**-12), ("uint8", 0.5 / 255)])
def test_what_is_written_is_read(tmp_path, dtype, error):
    """float16 has 11 bits: between 0.5 and 1 it is rounded by up to 2**-12."""
    values = np.random.default_rng(0).random((3, 5, 7, 2), dtype=np.float32)
    said = write(tmp_path, values, {"a/b": 2, "c": 1}, dtype=dtype)
    assert said == f"probabilities/, {dtype} of 2 scans"
    with np.load(tmp_path / "probabilities/a%2Fb.npz") as first, np.load(tmp_path / "probabilities/c.npz") as second:
        stored = np.concatenate([first["probabilities"], second["probabilities"]])
        assert stored.dtype == dtype
        read = stored.astype(np.float64) / (255 if dtype == "uint8" else 1)
        assert np.abs(read - values).max() <= error + 1e-7 * (error > 0)
        assert first["ids"].tolist() == ["a/b_0", "a/b_1"] and second["ids"].tolist() == ["c_0"]
        assert first["positions"].tolist() == [0, 3]
        assert first["classes"].tolist() == list(CLASSES)


def test_equal_probabilities_make_equal_files(tmp_path):
    values = np.random.default_rng(0).random((2, 5, 7, 2), dtype=np.float32)
    for name in ("first", "second"):
        write(tmp_path / name, values, {"a": 2})
    first, second = ((tmp_path / name / "probabilities/a.npz").read_bytes() for name in ("first", "second"))
    assert first == second


def test_no_scan_is_held(tmp_path):
    """40 slices of 256 KiB pass through in less memory than 8 of them take."""
    values = np.zeros((1, 128, 256, 2), dtype=np.float32)
    tracemalloc.start()
    write(tmp_path, np.broadcast_to(values, (40, *values.shape[1:])), {"a": 40}, dtype="float32")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * values.nbytes
