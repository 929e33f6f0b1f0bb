"""The benchmark of the competition's size: the set is what it says, a command's usage is its own."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from gisegkit.components.datasets.uwmgi import UWMGI

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import competition_size

    yield competition_size
    for name in ("competition_size", "competition_phantom", "harness"):
        sys.modules.pop(name, None)


def test_the_set_has_the_competitions_size(script):
    chosen = list(script.scans())
    assert len(set(chosen)) == 274 and len({(scan.case, scan.day) for scan in chosen}) == 274
    assert sum(scan.slices for scan in chosen) == 38496
    assert Counter(scan.slices for scan in chosen) == {144: 259, 80: 15}
    large = sum(scan.slices for scan in chosen if scan.case % 2 == 0)
    assert large / 38496 == pytest.approx(11232 / 38496)  # of 360 x 310 pixels, as in the competition
    tenth = script.a_tenth(chosen)
    assert sum(scan.slices for scan in tenth) / 38496 == pytest.approx(0.1, abs=0.01)
    assert {scan.case % 2 for scan in tenth} == {0, 1}


@pytest.mark.slow
def test_a_set_is_made_once_and_is_the_competitions(script, tmp_path):
    chosen = [script.Scan(1, 1, 8), script.Scan(2, 0, 9)]
    folder = script.make(tmp_path / "set", chosen, processes=1)
    table = UWMGI(root=str(folder), exclude="none").table
    assert table.groupby("scan").size().tolist() == [8, 9]
    assert table["labelled"].all() and table[["height", "width"]].drop_duplicates().to_numpy().tolist() == [
        [266, 266],
        [310, 360],
    ]
    before = (folder / "train.csv").stat().st_mtime_ns
    assert script.make(folder, chosen, processes=1) == folder
    assert (folder / "train.csv").stat().st_mtime_ns == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its peak")
def test_the_usage_of_a_command(script, tmp_path):
    usage = script.giseg("--help", cache=tmp_path)
    assert usage.seconds > 0
    assert 5 < usage.peak < 200, "MiB: the interpreter and the command line, not what this process holds"
    assert usage.anonymous <= usage.peak


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its peak")
def test_a_command_that_fails_is_no_measurement(script, tmp_path):
    with pytest.raises(RuntimeError, match="no such"):
        script.giseg("prepare", tmp_path / "none.toml", cache=tmp_path)


@pytest.mark.parametrize(
    ("values", "cost", "met"), [([400.0], False, True), ([200.0], False, False), ([4.0], True, True)]
)
def test_a_row_against_a_number(script, values, cost, met):
    row = script.bound("it", values, 300, unit="x", cost=cost)
    assert row.met is met and row.ratio == pytest.approx(values[0] / 300)
