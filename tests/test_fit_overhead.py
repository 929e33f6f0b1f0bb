"""The benchmark of the loop compares like with like: both sides take the same steps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import fit_overhead
    import torch

    threads = torch.get_num_threads()
    yield fit_overhead
    torch.set_num_threads(threads)  # the script sets its own; results of later tests depend on it in the last bits
    sys.modules.pop("fit_overhead", None)


@pytest.mark.slow
def test_both_sides_take_the_same_steps(script):
    """One batch an epoch, so that the order in which each side reads it does not matter."""
    case = script.Case("resnet18", 32, 6, 1)
    ours, bare = (list(side(case, 4)) for side in (script.fit, script.bare))
    assert ours == pytest.approx(bare, rel=1e-3)
    assert ours[-1] < 0.98 * ours[0]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process its peak")
@pytest.mark.slow
def test_the_peak_is_that_of_the_second_epoch(script, monkeypatch):
    import numpy as np

    def side(case, epochs):
        for megabytes in (400, 100):
            np.ones(megabytes * 2**20, np.uint8)
            yield 0.0

    monkeypatch.setitem(script.SIDES, "made up", side)
    first = script.peak("made up", "resnet18")
    monkeypatch.setitem(script.SIDES, "made up", lambda case, epochs: iter([0.0] * 2))
    assert 90 * 2**20 < first - script.peak("made up", "resnet18") < 200 * 2**20
