"""The page of an evaluation that has other settings than its run stands beside it and says so."""

from __future__ import annotations

import shutil

from gisegkit.runs.outputs import Evaluation
from gisegkit.workflows.pages import write_report


def test_a_page_is_made_of_its_own_evaluation(finished, tmp_path):
    run, _ = finished
    other = Evaluation.at(tmp_path / "other")
    shutil.copytree(run.evaluation, other.folder)
    table = other.folder / "by_scan.csv"
    table.write_text(table.read_text().replace("case1_day0", "001"))
    before = run.report.read_bytes()
    write_report(run, other)
    text = other.report.read_text()
    assert "submission.csv" not in text and "<h1>finished: tiny</h1>" in text
    assert run.report.read_bytes() == before
    assert not (tmp_path / "none").exists()
    write_report(run, Evaluation.at(tmp_path / "none"))  # no scores yet
    assert not (tmp_path / "none").exists()
