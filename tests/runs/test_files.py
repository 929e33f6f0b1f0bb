"""The text files of a run folder: read whole, or refused in one line that names file and line."""

from __future__ import annotations

import json

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.files import ENTRY, NEEDED, read_metrics, read_table, read_text

LINE = {
    "epoch": 1, "loss": 0.5, "losses": {}, "validation_loss": 0.6, "learning_rate": 1e-3, "seconds": 1.0,
    "images_per_second": 2.0, "peak_memory": 0, "best": True, "scores": {"dice": None}, "notes": [],
}  # fmt: skip


def lines(*entries):
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_metrics_are_read(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(lines(LINE, {**LINE, "epoch": 3, "loss": None}))
    assert [entry["epoch"] for entry in read_metrics(file)] == [1, 3]
    assert set(ENTRY) == set(LINE)
    file.write_text("")
    assert read_metrics(file) == []


@pytest.mark.parametrize("key", sorted(LINE))
@pytest.mark.parametrize("value", [..., "<b>", [1], True, 1.5])
def test_a_line_with_another_kind_of_value_is_damaged(tmp_path, key, value):
    if type(value) is type(LINE[key]) or (type(value) is float and type(LINE[key]) is int and key != "epoch"):
        value = {}
    if type(value) is type(LINE[key]):
        value = "x"
    if value is ... and key not in NEEDED:
        value = {} if type(LINE[key]) is not dict else "x"
    file = tmp_path / "metrics.jsonl"
    entry = {**LINE, "epoch": 2, key: value} if value is not ... else {name: LINE[name] for name in LINE if name != key}
    file.write_text(lines(LINE, entry))
    with pytest.raises(RunError, match=rf"metrics\.jsonl is damaged: line 2 has .*{key}") as error:
        read_metrics(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"{", b"[1]", b"\xff", bytes(range(256)), b"null", b"{}\n\n{}", b"[" * 100_000, b"\x00"]
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(content)
    for read in (read_metrics, read_table):
        if read is read_table and content == b"{}\n\n{}":
            continue
        with pytest.raises(RunError, match=r"metrics\.jsonl") as error:
            read(file)
        assert "\n" not in str(error.value)
    with pytest.raises(RunError, match="cannot be read"):
        read_text(tmp_path)
