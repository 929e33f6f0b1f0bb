"""The contract of trackers; gisegkit makes this check of its own only, as a plugin's may write to a server."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gisegkit.testing.expect import call
from gisegkit.types import EpochReport


def check_tracker(build: Callable[..., Any], folder: Path) -> None:
    """A tracker takes reports, also with undefined scores, and a summary.

    Args:
        build: called as ``build(folder=...)``.
        folder: an empty one, or one that is not there yet.

    Raises:
        ContractError: if it raises anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tracker = call("folder", build, folder=str(folder))
    for epoch in (1, 2):
        scores: Mapping[str, float] = {"dice": math.nan if epoch == 1 else 0.5}
        report = EpochReport(epoch, 2, 0.7, scores, scores["dice"], epoch == 2, 1e-3, 1.0, 10.0, 0, {})
        call(f"report of epoch {epoch}", tracker.report, report)
    call("finish", tracker.finish, {"name": "check", "demo": False})
