"""The chart of the report page: lines where the values are, gaps if there are none, round ticks."""

from __future__ import annotations

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from gisegkit.report.curves import BASE, LEFT, RIGHT, TOP, WIDTH, curves, ticks


def paths(html: str) -> list[list[tuple[float, float]]]:
    """The coordinates of the chart's lines."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
        for path in re.findall(r'class="line s\d" d="M([^"HV]+)"', html)
    ]


def test_a_curve_runs_through_its_values():
    html = curves({"dice": [(1, 0.0), (2, 0.5), (3, 1.0)]}, label="dice", epochs=(1, 3), mark=2)
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert paths(html) == [[(LEFT, BASE), (middle, (TOP + BASE) / 2), (WIDTH - RIGHT, TOP)]]
    assert f'class="mark" d="M{middle:.1f} ' in html
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", html)
    assert texts == ["0", "0.2", "0.4", "0.6", "0.8", "1", "1", "2", "3", "epoch"]


def test_undefined_values_are_gaps_and_epochs_without_validation_are_not():
    html = curves({"dice": [(1, 0.1), (2, 0.2), (3, None), (4, math.nan), (5, 0.3), (9, 0.4)]}, label="", epochs=(1, 9))
    assert [len(path) for path in paths(html)] == [2, 2]
    assert html.count("<circle") == 4


def test_one_epoch_is_one_dot_in_the_middle():
    html = curves({"loss": [(1, 0.5)]}, label="", epochs=(1, 1))
    assert html.count("<circle") == 1
    assert f'cx="{(LEFT + WIDTH - RIGHT) / 2:.1f}"' in html
    assert re.findall(r'text-anchor="middle">(\d+)<', html) == ["1"]


def test_nothing_finite_is_said_in_words():
    assert "<svg" not in curves({"a": [(1, None), (2, math.inf)], "b": []}, label="", epochs=(1, 2))


def test_several_lines_have_a_legend_and_their_own_styles():
    html = curves({"<a>": [(1, 0.0), (2, 1.0)], "b": [(1, 1.0), (2, 0.0)]}, label="", epochs=(1, 2))
    assert html.count("<li>") == 2
    assert "&lt;a&gt;" in html and "<a>" not in html
    assert 'circle class="s0"' in html
    assert 'circle class="s1"' in html


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_even_and_enclose_the_values(low, reach):
    high = low + reach
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    step = found[1] - found[0]
    slack = 1e-6 * max(abs(low), abs(high), reach)
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(mantissa - factor) for factor in (1, 2, 5)) < 1e-3


def test_equal_values_have_ticks_around_them():
    assert ticks(0.5, 0.5)[0] < 0.5 < ticks(0.5, 0.5)[-1]
    assert ticks(0, 0)[0] < 0 < ticks(0, 0)[-1]
