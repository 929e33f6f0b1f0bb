"""The cores that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of the process's control group: microseconds of processor time in each period, and the period."""


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer where its control group has a quota of time."""
    bound = getattr(os, "sched_getaffinity", None)
    cores = len(bound(0)) if bound else os.cpu_count() or 1
    if CPU_QUOTA.is_file():
        quota, _, period = CPU_QUOTA.read_text().strip().partition(" ")
        if quota.isdigit() and period.isdigit():
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)
