"""``trials.json`` in the folder of a plan: the trials that its search has asked for, each before its run begins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gisegkit.data.atomic_files import write_text
from gisegkit.errors import RunError
from gisegkit.runs.files import read_table
from gisegkit.types import Trial

NAME = "trials.json"
FORMAT = 1
"""The version of the file."""


def read_trials(folder: Path) -> list[Trial]:
    """The trials so far, in the order in which they were asked for; empty if there are none.

    Raises:
        RunError: if the file is damaged.
    """
    file = folder / NAME
    if not file.is_file():
        return []
    content = read_table(file)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, this gisegkit reads {FORMAT}")
        return [Trial(int(entry["number"]), dict(entry["values"])) for entry in content["trials"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{file} is damaged ({error}); restore it, or give the plan another --out: only this file says which "
            "values a trial has"
        ) from error


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Write the file, whole or not at all."""
    entries = [{"number": trial.number, "values": dict(trial.values)} for trial in trials]
    write_text(folder / NAME, json.dumps({"format": FORMAT, "trials": entries}, indent=2, ensure_ascii=False) + "\n")
