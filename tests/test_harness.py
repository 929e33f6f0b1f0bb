"""What the benchmarks share: the ratios, their verdicts, and the page that is made of committed results."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    for name in ("harness", "page"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_sides_take_turns_and_warm_up_does_not_count():
    import harness

    calls = []

    def side(name, values):
        return lambda: calls.append(name) or values.pop(0)

    measured = harness.by_turns({"a": side("a", [9, 1, 2]), "b": side("b", [9, 3, 4])}, repetitions=2)
    assert calls == ["a", "b"] * 3
    assert measured == {"a": [1, 2], "b": [3, 4]}


def test_a_side_without_a_value_is_timed(monkeypatch):
    import harness

    clock = iter([1.0, 3.5])
    with monkeypatch.context() as patch:
        patch.setattr(harness, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
        measured = harness.by_turns({"a": lambda: None}, repetitions=1, warm_up=0)
    assert measured == {"a": [2.5]}


@pytest.mark.parametrize(
    ("higher", "cost", "target", "ratio", "met"),
    [
        (True, False, 2.0, 3.0, True),  # 6 / 2 and 12 / 4
        (False, False, 0.3, 1 / 3, True),  # seconds: theirs over ours
        (False, True, 1.05, 3.0, False),  # a cost: ours over theirs, at most the target
        (True, False, None, 3.0, None),
    ],
)
def test_ratios_are_those_of_pairs(higher, cost, target, ratio, met):
    import harness

    row = harness.compare(
        "it", {"us": [6, 12], "them": [2, 4]}, ours="us", baseline="them", unit="x", higher_is_better=higher,
        target=target, cost=cost,
    )  # fmt: skip
    assert row.ratio == row.ratio_low == row.ratio_high == pytest.approx(ratio)
    assert row.met is met
    assert ("missed" in harness.in_words(row)) == (met is False)


@pytest.mark.parametrize(
    ("ours", "target", "verdict"),
    [
        ([1.02, 1.03, 1.01, 1.02, 1.02, 1.03, 1.01], 1.05, "reached"),
        ([1.02, 1.06, 1.01, 1.02, 1.02, 1.03, 1.01], 1.05, "reached, within the noise"),
        ([1.06, 1.06, 1.01, 1.02, 1.06, 1.07, 1.06], 1.05, "missed"),
        ([1.02], 1.05, "reached, measured once"),
        ([1.02], None, ""),
    ],
)
def test_a_verdict_says_what_weakens_it(ours, target, verdict):
    import harness

    row = harness.compare(
        "it", {"us": ours, "them": [1.0] * len(ours)}, ours="us", baseline="them", unit="s", higher_is_better=False,
        target=target, cost=True,
    )  # fmt: skip
    assert row.verdict == verdict


@pytest.mark.parametrize("count", [6, 7, 15, 21, 60])
def test_the_interval_holds_the_median_in_95_of_100(count):
    import harness

    rng = np.random.default_rng(0)
    samples = np.sort(rng.lognormal(size=(4000, count)), axis=1)
    held = [low <= 1 <= high for low, high in map(harness.interval, samples.tolist())]
    assert np.mean(held) >= 0.945
    ranks = harness.interval(list(range(count)))
    narrower = [row[int(ranks[0]) + 1] <= 1 <= row[int(ranks[1]) - 1] for row in samples]
    assert np.mean(narrower) < 0.955, "as narrow as can be"


def test_a_page_says_whether_the_tree_was_that_of_the_commit():
    import page

    assert page.revision("0123456789abcdef") == "0123456789ab"
    assert page.revision("0123456789abcdef-dirty") == "0123456789ab-dirty"


def test_the_page_is_that_of_the_committed_results():
    import page

    assert page.PAGE.read_text(encoding="utf-8") == page.page(sorted(page.RESULTS.glob("*.json")))
