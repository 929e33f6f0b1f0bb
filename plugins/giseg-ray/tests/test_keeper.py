"""Cancelled tasks of a real Ray with one processor: none of them runs, also if Ray's own message is lost."""

from __future__ import annotations

import sys
import time

import pytest

from gisegkit.types import Job, JobEnd

pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
import ray
from giseg_ray.keeper import CANCELLED, Keeper

pytestmark = pytest.mark.distributed
ONE = {"num_cpus": 1}


class Deaf(Keeper):
    """Its tasks never hear from Ray that they are cancelled."""

    def cancel(self, handle):
        self._cancelled.add(handle)


@pytest.fixture(scope="module")
def keepers():
    ray.init(num_cpus=1, log_to_driver=False, include_dashboard=False)
    yield [ray.remote(kind).options(num_cpus=0).remote() for kind in (Keeper, Deaf)]
    ray.shutdown()


def end(keeper, handle, seconds=120):
    until = time.monotonic() + seconds
    while (found := ray.get(keeper.poll.remote(handle))) is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("number", [0, 1])
def test_a_cancelled_task_does_not_run_and_is_not_taken_over(keepers, number, tmp_path):
    keeper = keepers[number]

    def submit(name, code):
        job = Job(name, (sys.executable, "-c", code), log=str(tmp_path / f"{name}.log"), cwd=str(tmp_path))
        return ray.get(keeper.submit.remote(job, {}, ONE))

    def writes(file):
        return f"import pathlib; pathlib.Path({file!r}).touch()"

    long = submit("long", f"{writes('begun')}; import time; time.sleep(300); {writes('over')}")
    waiting = submit("waiting", writes("waited"))
    assert submit("waiting", "") == waiting, "it waits, and is taken over"
    until = time.monotonic() + 120
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    ray.get(keeper.cancel.remote(waiting))
    again = submit("waiting", writes("again"))
    assert again != waiting, "a cancelled task is not taken over"
    ray.get(keeper.cancel.remote(long))
    assert end(keeper, waiting) == end(keeper, long) == JobEnd(CANCELLED, "cancelled")
    assert end(keeper, again) == JobEnd(0)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix != ".log") == ["again", "begun"]
