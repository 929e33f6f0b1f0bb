"""The page of a ranking: everything that it is given, escaped, and bars that show the numbers."""

from __future__ import annotations

import math
import re

import pytest

from gisegkit.report.ranking import WIDTH, render_ranking

ROW = {
    "place": 1,
    "setting": "a",
    "score": 0.5,
    "low": 0.4,
    "high": 0.6,
    "seeds": 2,
    "planned_seeds": 2,
    "lowest_seed": 0.45,
    "highest_seed": 0.55,
    "difference": math.nan,
    "p_adjusted": math.nan,
    "verdict": "",
    "differences": "",
}


def page(rows, seeds, **more):
    return render_ranking(name="p", demo=False, about=["x"], rows=rows, seeds=seeds, first="a", **more)


def test_bars_are_where_the_numbers_are():
    other = {**ROW, "place": 2, "setting": "b", "score": 0.2, "low": 0.1, "high": 0.3, "verdict": "lower <b>"}
    text = page([ROW, other], [[0.45, 0.55], [0.2, math.nan]])
    found = [float(value) for value in re.findall(r'<circle class="s0" cx="([\d.]+)"', text)]
    scale = (WIDTH - 12) / 0.5  # from 0.1 to 0.6
    assert found == pytest.approx([6 + 0.4 * scale, 6 + 0.1 * scale], abs=0.05)
    seeds = [float(value) for value in re.findall(r'<circle class="s1" cx="([\d.]+)"', text)]
    assert seeds == pytest.approx([6 + 0.35 * scale, 6 + 0.45 * scale, 6 + 0.1 * scale], abs=0.05)
    assert "lower &lt;b&gt;" in text and "<b>" not in text.split("</style>")[1]
    assert "a (first)" in text and text.count("<h2>") == 2


def test_a_row_without_a_score_or_an_interval_has_no_bar_or_a_dot():
    rows = [{**ROW, "low": math.nan, "high": math.nan}, {**ROW, "setting": "b", "score": math.nan}]
    text = page(rows, [[0.5], [math.nan]])
    assert text.count('aria-label="interval"') == 1


def test_what_is_not_done_and_a_search_have_sections_of_their_own():
    search = {
        "about": ["12 trials"],
        "charts": {"history": "<svg></svg>"},
        "importance": {"optimizer.lr": 0.75},
        "axes": ["optimizer.lr"],
        "trials": [{"name": "t", "state": "pruned", "score": None, "settings": [0.1], "detail": "after epoch 1"}],
    }
    text = page([], [], undone=[("n", "failed", "no <disk>")], notes=["a note"], search=search, nothing="nothing yet")
    assert "nothing yet" in text and "no &lt;disk&gt;" in text and "<li>a note</li>" in text
    assert "<svg></svg>" in text and 'width="75.0"' in text and "after epoch 1" in text


def test_why_a_trial_ended_stands_below_it_across_all_columns():
    """In a column of its own it was squeezed to a word a line, out of sight."""
    trial = {"name": "t", "state": "pruned", "score": None, "settings": [0.1, 2], "detail": "after <epoch> 1"}
    search = {
        "about": [],
        "charts": {},
        "importance": {},
        "axes": ["a", "b"],
        "trials": [trial, {**trial, "detail": ""}],
    }
    text = page([], [], search=search)
    assert text.count('<tr class="why"><td></td><td colspan="4">after &lt;epoch&gt; 1</td></tr>') == 1
    assert text.count('<tr class="why">') == 1


def test_columns_of_seeds_are_there_only_if_a_setting_has_several():
    alone = {**ROW, "seeds": 1, "planned_seeds": 1}
    one, two = page([alone], [[0.5]]), page([alone, {**ROW, "setting": "b"}], [[0.5], [0.45, 0.55]])
    assert "lowest" not in one and "small dots" not in one and '<circle class="s1"' not in one
    assert "lowest" in two and "small dots" in two and two.count('<circle class="s1"') == 3
