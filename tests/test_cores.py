"""The cores that this process may use: bound to, and left by its control groups."""

from __future__ import annotations

import os

import pytest

from gisegkit.cores import usable_cores


@pytest.mark.parametrize(
    ("bound", "share", "cores"),
    [(8, None, 8), (8, 4.0, 4), (8, 1.5, 2), (2, 4.0, 2), (8, 0.1, 1)],
)
def test_usable_cores_are_those_of_the_process_and_of_its_control_groups(monkeypatch, bound, share, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)), raising=False)
    monkeypatch.setattr("gisegkit.cores.processor_share", lambda: share)
    assert usable_cores() == cores


def test_where_no_process_is_bound_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr("gisegkit.cores.processor_share", lambda: None)
    assert usable_cores() == 6
