"""What the benchmarks share: the ratios, their verdicts, and the page that is made of committed results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    for name in ("harness", "page"):
        sys.modules.pop(name, None)


def test_sides_take_turns_and_warm_up_does_not_count():
    import harness

    calls = []

    def side(name, values):
        return lambda: calls.append(name) or values.pop(0)

    measured = harness.by_turns({"a": side("a", [9, 1, 2]), "b": side("b", [9, 3, 4])}, repetitions=2)
    assert calls == ["a", "b"] * 3
    assert measured == {"a": [1, 2], "b": [3, 4]}


def test_a_side_without_a_value_is_timed():
    import harness

    measured = harness.by_turns({"a": lambda: None}, repetitions=1, warm_up=0)
    assert 0 <= measured["a"][0] < 10


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
    assert ("MISSED" in harness.in_words(row)) == (met is False)


def test_the_page_is_that_of_the_committed_results():
    import page

    assert page.PAGE.read_text(encoding="utf-8") == page.page(sorted(page.RESULTS.glob("*.json")))
