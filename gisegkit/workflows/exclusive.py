"""A command that writes into a run folder has the folder to itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gisegkit.build.experiment import Experiment
from gisegkit.runs.folder import RunDir

P = ParamSpec("P")
R = TypeVar("R")


def in_run_folder(
    verb: Callable[Concatenate[RunDir, Experiment, P], R],
) -> Callable[Concatenate[RunDir, Experiment, P], R]:
    """Lock the run folder while a function writes into it; one that writes elsewhere (``out``) needs no lock."""

    @functools.wraps(verb)
    def alone(run: RunDir, experiment: Experiment, /, *args: P.args, **keywords: P.kwargs) -> R:
        out = keywords.get("out")
        if isinstance(out, Path) and run.path.resolve() not in out.resolve().parents:
            return verb(run, experiment, *args, **keywords)
        with run.locked(experiment.console.say):
            return verb(run, experiment, *args, **keywords)

    return alone
