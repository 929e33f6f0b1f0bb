"""``trials.json`` in the folder of a plan: the trials that its search has asked for, each before its run begins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gisegkit.data.atomic_files import write_text
from gisegkit.errors import RunError
from gisegkit.runs.files import read_table
from gisegkit.types import Trial

NAME = "trials.json"
FORMAT = 2
"""The version of the file. Version 1 did not say what the search looks for, and is read."""


def read_trials(folder: Path) -> list[Trial]:
    """The trials so far, in the order in which they were asked for; empty if there are none.

    Raises:
        RunError: if the file is damaged.
    """
    return _read(folder)[0]


def read_aim(folder: Path) -> dict[str, str]:
    """What the search of these trials looks for and where, as ``write_trials`` was given it; empty if nobody knows.

    Raises:
        RunError: if the file is damaged.
    """
    return _read(folder)[1]


def _read(folder: Path) -> tuple[list[Trial], dict[str, str]]:
    file = folder / NAME
    if not file.is_file():
        return [], {}
    content = read_table(file)
    try:
        if content["format"] not in (1, FORMAT):
            raise ValueError(f"its format is {content['format']}, this gisegkit reads 1 and {FORMAT}")
        trials = [Trial(int(entry["number"]), dict(entry["values"])) for entry in content["trials"]]
        return trials, {str(key): str(value) for key, value in content.get("aim", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{file} is damaged ({error}); restore it, or give the plan another --out: only this file says which "
            "values a trial has"
        ) from error


def write_trials(folder: Path, trials: Sequence[Trial], aim: Mapping[str, str]) -> None:
    """Write the file, whole or not at all.

    Args:
        aim: what the search looks for and where, in words by key.
    """
    entries = [{"number": trial.number, "values": dict(trial.values)} for trial in trials]
    content = {"format": FORMAT, "aim": dict(aim), "trials": entries}
    write_text(folder / NAME, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
