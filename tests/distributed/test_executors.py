"""The executors on Slurm and Ray themselves: their contract, and a submission that nobody noted."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

CHECK = """
import functools, sys, time
from pathlib import Path
from gisegkit.registry.signatures import load_path
from gisegkit.testing import check_executor
from gisegkit.types import Job

target, key, value, folder = sys.argv[1:]
build = functools.partial(load_path(target), device="cpu", folder=folder, interval=0.5, **{key: value})
check_executor(build, Path(folder) / "work", patience=300)
if value == "local":
    sys.exit()
sleep = (sys.executable, "-c", "import time; time.sleep(600)")
jobs = [Job(name, sleep, folder, f"{folder}/{name}.log") for name in ("n-seed1", "n-seed10")]
handles = [build().submit(job) for job in jobs]
assert [build().submit(job) for job in jobs] == handles and len(set(handles)) == 2
for handle in handles:
    build().cancel(handle)
while (ends := [build().poll(handle) for handle in handles]).count(None):
    time.sleep(0.2)
assert [end.code for end in ends] == [-15, -15], ends
again = build().submit(jobs[0])
assert again not in handles
build().cancel(again)
"""
"""A giseg plan that is killed while it submits does not note the handle; the next one submits the same step again."""


@pytest.mark.parametrize("name", ["slurm", "ray"])
def test_the_contract_and_that_a_step_is_not_submitted_twice(name, request, tmp_path):
    key, value, target = {
        "slurm": ("cluster", "slurm", "giseg_slurm.executor:Slurm"),
        "ray": ("address", "ray_cluster", "giseg_ray.executor:Ray"),
    }[name]
    where = request.getfixturevalue(value)
    checked = subprocess.run([sys.executable, "-c", CHECK, target, key, where, str(tmp_path)])
    assert checked.returncode == 0
