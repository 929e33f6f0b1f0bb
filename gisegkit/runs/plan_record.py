"""``plan.json`` in the folder of a plan: how its steps ended. Which runs are finished is seen in their own folders."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gisegkit.data.atomic_files import write_text
from gisegkit.errors import RunError
from gisegkit.runs.files import read_table

NAME = "plan.json"
FORMAT = 2
"""The version of the file. Version 1 had no jobs, and is read."""


@dataclass(frozen=True)
class Ended:
    """How a step ended.

    Attributes:
        of: stands for what it was made of.
        code: the exit status of its command; None while it runs, or if this process was killed meanwhile.
        seconds: that it took.
        cause: why it failed, in one line.
        job: the handle of its command, by which the executor finds it again.
        executor: whose job it is.
        since: when it was submitted, in seconds since 1970.
        log: bytes of the log before it.
        pruned: why a search ended it early; it is not tried again.
    """

    of: str
    code: int | None = None
    seconds: float = 0.0
    cause: str = ""
    job: str = ""
    executor: str = ""
    since: float = 0.0
    log: int = 0
    pruned: str = ""


def read_record(folder: Path) -> dict[str, Ended]:
    """How the steps of a plan ended, by name; empty if none has begun.

    Raises:
        RunError: if the file is damaged.
    """
    file = folder / NAME
    if not file.is_file():
        return {}
    content = read_table(file)
    try:
        if content["format"] not in (1, FORMAT):
            raise ValueError(f"its format is {content['format']}, this gisegkit reads 1 and {FORMAT}")
        return {str(name): Ended(**entry) for name, entry in content["steps"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{file} is damaged ({error}); delete it: finished runs are found without it, the steps after them are "
            "made again"
        ) from error


def write_record(folder: Path, steps: dict[str, Ended]) -> None:
    """Write the file, whole or not at all."""
    content = {"format": FORMAT, "steps": {name: asdict(ended) for name, ended in steps.items()}}
    write_text(folder / NAME, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
