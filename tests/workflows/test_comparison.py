"""The numbers of a comparison, ready for JSON."""

from __future__ import annotations

import json

from gisegkit.workflows.compare import compare


def test_every_number_is_plain_and_undefined_ones_are_null(write_run, registries):
    table = compare([write_run("a"), write_run("few", cases=2, seed=3)], registries)
    content = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert content["higher_is_better"]["uwmgi_score"] is True
    few = next(run for run in content["runs"] if run["name"] == "few")
    assert few["low"] is None and few["comparison"]["p"] is None
    assert few["comparison"]["differences"] == ["seed: 0 -> 3"]
    assert few["slices_trained_on"] == 0 and few["changes"] == []
