"""What a process may use: control groups of both versions, nested, in containers, and where nothing can be read."""

from __future__ import annotations

import os
import sys

import pytest

from gisegkit.cli import main
from gisegkit.machine import free_memory, parse_size, processor_share, show_size, usable_cores

GIB = 2**30
MACHINE = 64 * GIB
NONE_V1 = 9223372036854771712
"""How version 1 writes that there is no limit."""


@pytest.fixture
def machine(tmp_path):
    """Writes files below ``proc`` and ``groups``; gives both as the arguments of the functions."""
    folders = {"proc": tmp_path / "proc", "groups": tmp_path / "groups"}

    def write(files, *, group="", free=MACHINE):
        given = {"proc/meminfo": f"MemTotal: 99999999999 kB\nMemAvailable: {free // 1024} kB\n"}
        given |= {"proc/self/cgroup": group} if group else {}
        for name, text in {**given, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))
        return folders

    return write


def v2(folder, limit, used, **statistics):
    stat = "".join(f"{name} {size}\n" for name, size in {"anon": 5, **statistics}.items())
    return {
        f"groups/{folder}memory.max": f"{limit}\n",
        f"groups/{folder}memory.current": f"{used}\n",
        f"groups/{folder}memory.stat": stat,
    }


def v1(folder, limit, used, **statistics):
    stat = "".join(f"{name} {size}\n" for name, size in {"rss": 5, **statistics}.items())
    return {
        f"groups/memory/{folder}memory.limit_in_bytes": f"{limit}\n",
        f"groups/memory/{folder}memory.usage_in_bytes": f"{used}\n",
        f"groups/memory/{folder}memory.stat": stat,
    }


# --- memory ---------------------------------------------------------------------------------------------------------

NESTED_V2 = v2("", "max", 9 * GIB) | v2("slurm/", 20 * GIB, 8 * GIB) | v2("slurm/job/", "max", 2 * GIB)
NESTED_V1 = v1("", NONE_V1, 9 * GIB) | v1("slurm/", 20 * GIB, 8 * GIB) | v1("slurm/job/", NONE_V1, 2 * GIB)
CASES = {
    "no control groups": ({}, "", 64),
    "version 2, the root": (v2("", 16 * GIB, 6 * GIB), "0::/\n", 10),
    "version 2, no limit": (v2("", "max", 6 * GIB), "0::/\n", 64),
    "version 2, a limit above the machine": (v2("", 999 * GIB, 6 * GIB), "0::/\n", 64),
    "version 2, cached files are free": (
        v2("", 16 * GIB, 15 * GIB, inactive_file=8 * GIB, active_file=3 * GIB, slab_reclaimable=GIB),
        "0::/\n",
        13,
    ),
    "version 2, shared memory is not": (v2("", 16 * GIB, 15 * GIB, file=9 * GIB, shmem=9 * GIB), "0::/\n", 1),
    "version 2, more cached than used": (v2("", 16 * GIB, GIB, inactive_file=2 * GIB), "0::/\n", 16),
    "version 2, full": (v2("", 16 * GIB, 17 * GIB), "0::/\n", 0),
    "version 2, a soft limit below": (
        v2("", 16 * GIB, 6 * GIB) | {"groups/memory.high": f"{8 * GIB}\n"},
        "0::/\n",
        2,
    ),
    "version 2, nested": (NESTED_V2, "0::/slurm/job\n", 12),
    "version 2, nested, the inner one is tighter": (NESTED_V2 | v2("slurm/job/", 3 * GIB, GIB), "0::/slurm/job\n", 2),
    "version 2, another's limit does not count": (NESTED_V2 | v2("other/", GIB, 0), "0::/slurm/job\n", 12),
    "version 2, the inner group is not here": (NESTED_V2, "0::/slurm/job/step\n", 12),
    "version 2, in a container, with the host's path": (v2("", 4 * GIB, GIB), "0::/docker/0123abc\n", 3),
    "version 2, in a container, a group inside": (
        v2("", 9 * GIB, GIB) | v2("inner/", 4 * GIB, GIB),
        "0::/docker/0123abc/inner\n",
        3,
    ),
    "version 2, outside of the own namespace": (v2("", 4 * GIB, GIB), "0::/../other\n", 3),
    "version 2, a colon in the name": (v2("a:b/", 4 * GIB, GIB), "0::/a:b\n", 3),
    "version 1, the root": (v1("", 16 * GIB, 6 * GIB), "4:memory:/\n", 10),
    "version 1, no limit": (v1("", NONE_V1, 6 * GIB), "4:memory:/\n", 64),
    "version 1, cached files are free": (
        v1("", 16 * GIB, 15 * GIB, total_inactive_file=8 * GIB, total_active_file=3 * GIB, inactive_file=5),
        "5:cpu,cpuacct:/x\n4:memory:/\n",
        12,
    ),
    "version 1, nested": (NESTED_V1, "4:memory:/slurm/job\n", 12),
    "version 1, in a container": (v1("", 4 * GIB, GIB), "4:memory:/docker/0123abc\n", 3),
    "both versions": (NESTED_V1 | {"groups/unified/cgroup.procs": ""}, "4:memory:/slurm/job\n0::/slurm/job\n", 12),
    "both versions, limits in the second": (
        {"groups/cpu/tasks": ""} | v2("unified/job/", 4 * GIB, GIB),
        "4:cpu:/\n0::/job\n",
        3,
    ),
    "the process's group is not told": (v2("", 4 * GIB, GIB), "", 3),
    "the process's group is not told, version 1": (v1("", 4 * GIB, GIB), "", 3),
    "nonsense": (v2("", "many", "few", inactive_file="some"), "0::/\nnonsense\n\n:::\n", 64),
    "what is used cannot be read": ({"groups/memory.max": f"{4 * GIB}\n"}, "0::/\n", 4),
}


@pytest.mark.parametrize(("files", "group", "free"), CASES.values(), ids=CASES)
def test_free_memory_is_what_machine_and_control_groups_leave(machine, files, group, free):
    assert free_memory(**machine(files, group=group)) == free * GIB


def test_where_the_machine_has_less_than_the_group_allows_that_counts(machine):
    assert free_memory(**machine(v2("", 16 * GIB, 6 * GIB), group="0::/\n", free=2 * GIB)) == 2 * GIB


def test_a_file_that_may_not_be_read_is_as_good_as_none(machine, tmp_path):
    folders = machine({"groups/memory.max/folder": "a folder in place of a file"}, group="0::/\n")
    assert free_memory(**folders) == MACHINE


def test_without_proc_it_is_the_whole_memory(tmp_path):
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert free_memory(proc=tmp_path / "none", groups=tmp_path / "none") == whole
    assert 0 < free_memory() <= whole


# --- cores ----------------------------------------------------------------------------------------------------------


def quota_v1(folder, quota, period=100000):
    return {f"groups/{folder}cpu.cfs_quota_us": f"{quota}\n", f"groups/{folder}cpu.cfs_period_us": f"{period}\n"}


SHARES = {
    "none": ({}, "", None),
    "version 2": ({"groups/cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
    "version 2, no quota": ({"groups/cpu.max": "max 100000\n"}, "0::/\n", None),
    "version 2, nested": (
        {"groups/cpu.max": "max 100000\n", "groups/a/cpu.max": "300000 100000", "groups/a/b/cpu.max": "400000 100000"},
        "0::/a/b\n",
        3,
    ),
    "version 2, in a container": ({"groups/cpu.max": "200000 100000\n"}, "0::/kubepods/pod1\n", 2),
    "version 1": (quota_v1("cpu/", 250000), "3:cpu:/\n", 2.5),
    "version 1, no quota": (quota_v1("cpu/", -1), "3:cpu:/\n", None),
    "version 1, nested": (quota_v1("cpu/", -1) | quota_v1("cpu/job/", 50000), "3:cpu:/job\n", 0.5),
    "version 1, two in one": (quota_v1("cpu,cpuacct/job/", 100000), "3:cpu,cpuacct:/job\n", 1),
    "both versions": (quota_v1("cpu/", 400000) | {"groups/unified/x": ""}, "3:cpu:/\n0::/\n", 4),
    "nonsense": ({"groups/cpu.max": "nonsense"}, "0::/\n", None),
    "no period": (quota_v1("cpu/", 100, 0), "3:cpu:/\n", None),
}


@pytest.mark.parametrize(("files", "group", "share"), SHARES.values(), ids=SHARES)
def test_the_tightest_quota_counts(machine, files, group, share):
    assert processor_share(**machine(files, group=group)) == share


# --- systems --------------------------------------------------------------------------------------------------------


def test_windows_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        main(["list-components"])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err == "error: gisegkit runs on Linux and macOS; on Windows use WSL 2\n"


@pytest.mark.parametrize(
    ("bound", "share", "cores"),
    [(8, None, 8), (8, 4.0, 4), (8, 1.5, 2), (2, 4.0, 2), (8, 0.1, 1)],
)
def test_usable_cores_are_those_of_the_process_and_of_its_control_groups(monkeypatch, bound, share, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)), raising=False)
    monkeypatch.setattr("gisegkit.machine.processor_share", lambda: share)
    assert usable_cores() == cores


def test_where_no_process_is_bound_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr("gisegkit.machine.processor_share", lambda: None)
    assert usable_cores() == 6


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16GiB", 16 * 1024**3),
        ("16 gib", 16 * 1024**3),
        ("6GB", 6_000_000_000),
        ("1.5 MiB", 3 * 2**19),
        ("900KB", 900_000),
        ("12B", 12),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "16", "GiB", "16 GiBs", "-1GiB", "0GiB", "1e3MiB", "sixteen GiB"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match='such as "16GiB"'):
        parse_size(text)


def test_sizes_are_shown():
    assert show_size(16 * 1024**3) == "16.00 GiB"
    assert show_size(310 * 2**20) == "310 MiB"
    assert show_size(200_000) == "195 KiB"
