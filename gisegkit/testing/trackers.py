"""The contract of trackers; gisegkit makes this check of its own only, as a plugin's may write to a server."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gisegkit.testing.expect import call, expect
from gisegkit.types import EpochReport, RunFacts

CALLED_WITH = {"start": ("recipe", "run"), "report": ("report",), "finish": ("scores", "outcome")}
"""The methods of a tracker, in the order of a run, and what each is called with."""


def outdated(tracker: object) -> str:
    """What keeps an object from being a tracker, such as methods of an older gisegkit; empty if nothing does."""
    for name, arguments in CALLED_WITH.items():
        spoken = f"{name}({', '.join(arguments)})"
        method = getattr(tracker, name, None)
        if not callable(method):
            return f"it has no {spoken}; give it one, which may do nothing"
        try:
            inspect.signature(method).bind(*arguments)
        except TypeError:
            text = inspect.signature(method)
            return f"its {name}{text} is called as {spoken}; change its parameters"
        except ValueError:  # a method without a signature, in C
            continue
    return ""


def check_tracker(build: Callable[..., Any], folder: Path) -> None:
    """A tracker takes the start, reports, also with undefined scores, and the end, of a new run and a resumed one.

    Args:
        build: called as ``build(folder=...)``.
        folder: an empty one, or one that is not there yet.

    Raises:
        ContractError: if it lacks a method, or raises anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"name": "check", "seed": 0, "model": {"name": "unet"}, "loss": [{"name": "bce", "weight": 1.0}]}
    for first, outcome in ((1, "interrupted"), (3, "finished")):
        tracker = call("folder", build, folder=str(folder))
        old = outdated(tracker)
        expect(not old, old)
        facts = RunFacts("check", str(folder.parent), False, ("liver", "spleen"), first - 1)
        call("start", tracker.start, recipe, facts)
        scores: Mapping[str, float] = {}
        for epoch in (first, first + 1):
            scores = {"dice": math.nan if epoch == 1 else 0.5, "dice/liver": 0.5, "dice/spleen": math.nan}
            report = EpochReport(epoch, 4, 0.7, scores, scores["dice"], epoch == 2, 1e-3, 1.0, 10.0, 0, {})
            call(f"report of epoch {epoch}", tracker.report, report)
        call(f"finish with outcome {outcome!r}", tracker.finish, scores, outcome)
    failed = call("folder", build, folder=str(folder))
    call("start", failed.start, recipe, RunFacts("check", str(folder.parent), False, ("liver", "spleen"), 0))
    call("finish without scores", failed.finish, {}, "failed")
