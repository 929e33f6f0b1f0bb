"""The benchmark of prediction's memory runs, and its table says what was measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from gisegkit.data.submission import read_submission

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "prediction_memory.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("prediction_memory", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("way", ["submission", "areas", "masks", "probabilities"])
def test_each_way_predicts_the_scan(script, way, monkeypatch):
    monkeypatch.setitem(script.SIZES, "big", (5, 40, 36, 4))
    monkeypatch.setattr(script, "INPUT", (32, 32))
    texts = []
    write = script.write_submission

    def kept(path, rows):
        write(path, rows)
        texts.append(read_submission(path))

    monkeypatch.setattr(script, "write_submission", kept)
    row = script.measure("big", way, 5)
    assert row["memory"] >= row["before"] > 2**20 and row["resident"] > row["before"]
    assert [len(text) for text in texts] == ([] if way == "masks" else [2 * 4, 5 * 4])
    assert way == "masks" or texts[-1]["predicted"].ne("").any()


def test_the_table_says_it(script):
    row = {"scan": "big", "way": "areas", "before": 2**28, "memory": 2**30, "resident": 2**31, "seconds": 61.4}
    assert script.table([row | {"shape": [600, 512, 512, 20]}]).splitlines()[-1] == (
        "| 512 x 512 x 600, 20 classes | a submission, `min_area` in slices | 1024 MiB | 256 MiB | 2048 MiB | 61 s |"
    )
