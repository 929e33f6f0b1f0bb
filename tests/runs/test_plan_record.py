"""The record of a plan's steps."""

from __future__ import annotations

import json

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.plan_record import NAME, Ended, read_record, write_record


def test_what_is_written_is_read_again(tmp_path):
    steps = {"a": Ended("x", 0, 1.5), "b": Ended("y", 2, 0.5, "why"), "c": Ended("z")}
    write_record(tmp_path, steps)
    assert read_record(tmp_path) == steps
    assert read_record(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "text", ['{"format": 3, "steps": {}}', '{"format": 1}', '{"format": 1, "steps": {"a": 3}}', "[]"]
)
def test_a_damaged_record_is_told_with_the_remedy(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(RunError, match="damaged"):
        read_record(tmp_path)
    if text.startswith("{"):
        with pytest.raises(RunError, match="finished runs are found without it"):
            read_record(tmp_path)


def test_a_step_that_has_not_ended_has_no_code(tmp_path):
    write_record(tmp_path, {"a": Ended("x")})
    assert json.loads((tmp_path / NAME).read_text())["steps"]["a"]["code"] is None


def test_a_record_of_version_1_which_had_no_jobs_is_read(tmp_path):
    text = '{"format": 1, "steps": {"a": {"of": "x", "code": 2, "seconds": 0.5, "cause": "why"}}}'
    (tmp_path / NAME).write_text(text)
    assert read_record(tmp_path) == {"a": Ended("x", 2, 0.5, "why")}
