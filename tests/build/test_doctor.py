"""What is found in an experiment's data: told once, refused, or looked at without stopping."""

from __future__ import annotations

import numpy as np
import pytest

from gisegkit.build.doctor import examine, findings_in, known_findings, look, parts_of, tell
from gisegkit.build.session import Session
from gisegkit.data.findings import FindingsError
from gisegkit.errors import Finding
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe

RECIPE = """
name = "doctor"
[dataset]
name = "phantom"
cases = 4
days = 1
slices = 8
test_cases = 0
[input]
size = [32, 32]
store = "off"
[split]
folds = 2
[model]
name = "unet"
[[loss]]
name = "bce"
[optimizer]
name = "adam"
"""


@pytest.fixture
def made(write_recipe, registries):
    lines = []

    def make(*sets):
        recipe = load_recipe(write_recipe(RECIPE), registries=registries, overrides=sets)
        return Session(load_plugins(selection="none"), "cpu", say=lines.append).experiment(recipe)

    make.lines = lines
    return make


def test_doubts_are_told_once_and_errors_stop(made):
    data, doubt = made(), Finding("odd", "warning", "x", "is odd")
    tell(data, [doubt])
    tell(data, [doubt])
    assert made.lines == ["warning: odd: x: is odd"]
    with pytest.raises(FindingsError, match="bad: y: is bad"):
        tell(data, [Finding("bad", "error", "y", "is bad")])


@pytest.mark.slow
def test_a_clean_phantom_has_no_findings_and_each_slice_is_looked_at_once(made):
    data = made()
    assert known_findings(data) == [] and look(data, quick=False)[1] == []
    rows = np.arange(12)
    assert examine(data, rows) is False and len(data.seen) == 12 and not made.lines
    data.dataset.image = None  # is not read again
    assert examine(data, rows) is False
    facts = {row: data.seen[name] for row, name in enumerate(data.dataset.table["id"][:12])}
    assert findings_in(data, {**facts, 3: facts[2]}, {})[0].kind == "same image twice"


def test_facts_of_prepared_slices_cost_no_reading(made):
    data = made("input.store=resized")
    rows = np.concatenate(data.split)
    data.store.prepare(rows)
    data.dataset.image = None
    assert examine(data, rows) is False and len(data.seen) == len(rows)


def test_the_sides_of_the_split(made):
    data = made()
    assert sorted(parts_of(data).values()) == ["train"] * 16 + ["validation"] * 16
    assert parts_of(made("split.folds=1")) == {}, "all are on both sides"
    torn = look(made("split.group=slice"), quick=True)[1]
    assert [finding.kind for finding in torn] == ["case on both sides"]


def test_looking_stops_at_nothing(made):
    data = made("split.folds=7", "input.slices=3", "input.stride=9", "input.edge=zero")
    found, findings = look(data, quick=True)
    assert found is None and [finding.kind for finding in findings] == ["split", "setting without effect"]
    assert "7 folds need" in findings[0].what and findings[0].severity == "error"


def spoil(data, ids):
    """Images of these slices hold NaN."""
    inner = data.made[0].dataset
    rows, read = set(np.flatnonzero(inner.table["id"].isin(list(ids)).to_numpy()).tolist()), inner.image
    inner.image = lambda row: np.full((4, 4), np.nan, np.float32) if row in rows else read(row)
    inner.table.loc[sorted(rows), ["height", "width"]] = 4


def test_looking_goes_on_without_what_is_skipped(made):
    data = made("dataset.on_bad=skip")
    bad = data.dataset.table["id"].tolist()[2:4]
    spoil(data, bad)
    found, findings = look(data, quick=False)
    notes = [finding.ids for finding in findings if finding.kind == "left out: values that are not finite"]
    assert notes == [(name,) for name in bad]
    assert not [finding for finding in findings if finding.severity == "error"]
    assert len(found.facts) == len(data.dataset.table) == 30


def test_if_all_is_skipped_the_reasons_stay_errors(made):
    data = made("dataset.on_bad=skip")
    spoil(data, data.dataset.table["id"])
    with pytest.raises(FindingsError, match=r'on_bad = "skip" leaves out all slices') as caught:
        look(data, quick=False)
    assert "values that are not finite" in {finding.kind for finding in caught.value.findings}
