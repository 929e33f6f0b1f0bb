"""What this process may use of the machine: main memory and processor time, also inside a container or a batch job.

Control groups set limits below those of the machine. A process belongs to a group that may lie in others, and each of
them may have a limit; the tightest one counts. Both versions are read: version 2 (``memory.max``) and version 1
(``memory.limit_in_bytes``), also where a system has both.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from gisegkit.errors import GisegError

PROC = Path("/proc")
CONTROL_GROUPS = Path("/sys/fs/cgroup")

NO_LIMIT = 2**60
"""Bytes; version 1 writes the absence of a limit as a number of at least this size."""


def refuse_windows() -> None:
    """Check that the system is one that gisegkit runs on.

    Raises:
        GisegError: on native Windows.
    """
    if sys.platform == "win32":
        raise GisegError("gisegkit runs on Linux and macOS; on Windows use WSL 2")


def free_memory(*, proc: Path = PROC, groups: Path = CONTROL_GROUPS) -> int:
    """Bytes of main memory that can still be had: what the machine has, and what each control group leaves.

    Cached files do not count as used: the system gives them up as soon as a process wants the memory.

    Args:
        proc, groups: where the system shows its processes and its control groups.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _read(proc / "meminfo"), re.MULTILINE)
    available = int(found[1]) * 1024 if found else available
    for folder, unified in _groups("memory", proc, groups):
        left = _memory_left_v2(folder) if unified else _memory_left_v1(folder)
        available = available if left is None else min(available, left)
    return max(available, 0)


def _memory_left_v2(folder: Path) -> int | None:
    # Above memory.high a process is not killed, but slowed down until it gives memory back.
    limits = [int(text) for name in ("memory.max", "memory.high") if (text := _read(folder / name).strip()).isdigit()]
    if not limits:
        return None
    cached = _statistics(folder, "inactive_file", "active_file", "slab_reclaimable")
    return min(limits) - max(0, _number(folder / "memory.current") - cached)


def _memory_left_v1(folder: Path) -> int | None:
    limit = _number(folder / "memory.limit_in_bytes")
    if not 0 < limit < NO_LIMIT:
        return None
    cached = _statistics(folder, "total_inactive_file", "total_active_file")
    return limit - max(0, _number(folder / "memory.usage_in_bytes") - cached)


def processor_share(*, proc: Path = PROC, groups: Path = CONTROL_GROUPS) -> float | None:
    """Cores whose time the control groups leave to this process, e.g. 1.5; None if no group has a quota.

    Args:
        proc, groups: as of ``free_memory``.
    """
    shares = []
    for folder, unified in _groups("cpu", proc, groups):
        if unified:
            quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
        else:
            quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(period):
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer where its control groups have a quota of time.

    Processes of one run on this machine (``torchrun``) share them.
    """
    bound = getattr(os, "sched_getaffinity", None)
    cores = len(bound(0)) if bound else os.cpu_count() or 1
    share = processor_share()
    cores = cores if share is None else min(cores, math.ceil(share))
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def _groups(controller: str, proc: Path, mount: Path) -> Iterator[tuple[Path, bool]]:
    """The folders of the process's group and of all around it, each with whether it is of version 2."""
    lines = _read(proc / "self" / "cgroup").splitlines() or ["0::/", f"1:{controller}:/"]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            roots = [mount, mount / "unified"]  # alone, or beside version 1
        elif controller in controllers.split(","):
            roots = list(dict.fromkeys([mount / controllers, mount / controller]))
        else:
            continue
        for root in filter(Path.is_dir, roots):
            yield from ((folder, not controllers) for folder in _path_down(root, path))


def _path_down(root: Path, path: str) -> list[Path]:
    """The group's folder and all above it, from the top.

    In a container the path may be the one that the host sees, of which only the end, or nothing, exists here: the root
    is then the container's own group.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    while parts and not (root / parts[0]).is_dir():
        parts.pop(0)
    folders = [root]
    for part in parts:
        if not (folders[-1] / part).is_dir():
            break
        folders.append(folders[-1] / part)
    return folders


def _statistics(folder: Path, *names: str) -> int:
    """The sum of some numbers of a group's ``memory.stat``."""
    found = dict(line.split()[:2] for line in _read(folder / "memory.stat").splitlines() if len(line.split()) > 1)
    return sum(int(found[name]) for name in names if found.get(name, "").isdigit())


def _number(file: Path) -> int:
    text = _read(file).strip()
    return int(text) if text.isdigit() else 0


def _read(file: Path) -> str:
    """The file's text; empty if it is missing or may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# --- sizes in words ---

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(text: str) -> int:
    """Bytes of ``16GiB``, ``6 GB`` or ``900MiB``; upper and lower case are alike.

    Raises:
        ValueError: if it is no size above 0; the message says what is valid.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    size = int(float(found[1]) * UNITS.get(found[2].upper(), 0)) if found else 0
    if size <= 0:
        raise ValueError('a number with its unit, such as "16GiB", "900MiB" or "6GB"')
    return size


def show_size(size: float) -> str:
    """Bytes as a person reads them: ``14.20 GiB``, ``310 MiB``."""
    if size >= 2**30:
        return f"{size / 2**30:.2f} GiB"
    return f"{size / 2**20:.0f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
