"""The cores that this process may use: bound to, and left by its control group."""

from __future__ import annotations

import os

import pytest

from gisegkit.cores import usable_cores


def quota(monkeypatch, tmp_path, text):
    file = tmp_path / "cpu.max"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr("gisegkit.cores.CPU_QUOTA", file)


@pytest.mark.parametrize(
    ("bound", "text", "cores"),
    [
        (8, None, 8),
        (8, "max 100000\n", 8),
        (8, "400000 100000\n", 4),
        (8, "150000 100000\n", 2),
        (2, "400000 100000\n", 2),
        (8, "10000 100000\n", 1),
        (8, "nonsense", 8),
    ],
)
def test_usable_cores_are_those_of_the_process_and_of_its_control_group(monkeypatch, tmp_path, bound, text, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)), raising=False)
    quota(monkeypatch, tmp_path, text)
    assert usable_cores() == cores


def test_where_no_process_is_bound_all_cores_count(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    quota(monkeypatch, tmp_path, None)
    assert usable_cores() == 6
