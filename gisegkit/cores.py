"""The cores that this process may use."""

from __future__ import annotations

import math
import os

from gisegkit.machine import processor_share


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer where its control groups have a quota of time."""
    bound = getattr(os, "sched_getaffinity", None)
    cores = len(bound(0)) if bound else os.cpu_count() or 1
    share = processor_share()
    return max(1, cores if share is None else min(cores, math.ceil(share)))
