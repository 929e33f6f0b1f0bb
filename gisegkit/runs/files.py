"""The text files of a run folder as they are read: what is damaged is refused in one line, never half used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gisegkit.data.atomic_files import first_line
from gisegkit.data.folds import PARTS, is_fold
from gisegkit.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 3
"""The version of a run folder, in ``environment.json``; before 3, tables had other columns and recipes other keys."""

ENTRY: Mapping[str, tuple[type, ...]] = {
    "epoch": (int,),
    "loss": (int, float, type(None)),
    "losses": (dict,),
    "validation_loss": (int, float, type(None)),
    "learning_rate": (int, float, type(None)),
    "seconds": (int, float),
    "images_per_second": (int, float, type(None)),
    "peak_memory": (int, float),
    "best": (bool,),
    "scores": (dict,),
    "notes": (list,),
}
"""What a line of metrics.jsonl holds; null is what was not finite."""
NEEDED = ("epoch", "seconds", "peak_memory")
"""What a line must have; what else is missing is left out of the report."""


def read_text(file: Path) -> str:
    """A text in UTF-8.

    Raises:
        RunError: if it cannot be read or is no text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({first_line(error)}); it is damaged") from error


def read_table(file: Path) -> dict[str, Any]:
    """A JSON file that holds a table.

    Raises:
        RunError: if it does not.
    """
    return _parsed(file, read_text(file))


def _parsed(file: Path, text: str, place: str = "") -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read ({place}{first_line(error)}); it is damaged") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} is damaged: {place}it holds no table")
    return content


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``, one per epoch, in rising order.

    Raises:
        RunError: if a line is not what was written.
    """
    lines = read_text(file).splitlines()
    entries = [_parsed(file, line, f"line {number}: ") for number, line in enumerate(lines, start=1)]
    last = 0
    for number, entry in enumerate(entries, start=1):
        place = f"{file} is damaged: line {number}"
        for key, kinds in ENTRY.items():
            if key in NEEDED and key not in entry:
                raise RunError(f"{place} has no {key}")
            if key in entry and type(entry[key]) not in kinds:
                raise RunError(f"{place} has the {key} {str(entry[key])[:40]!r}")
        if entry["epoch"] <= last:
            raise RunError(f"{place} is of epoch {entry['epoch']}, and comes after epoch {last}")
        last = entry["epoch"]
    return entries


def read_split(file: Path) -> pd.DataFrame:
    """``split.csv``: columns id, part and, but for older runs, digest and pixels, all text.

    Raises:
        RunError: if it is damaged: no table, other columns, an unknown part, or an id that comes twice.
    """
    import pandas as pd

    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:  # pandas' own are children of ValueError
        raise RunError(f"{file} cannot be read ({first_line(error)}); it is damaged") from error
    columns = ["id", "part", "digest", "pixels"]
    known = len(table.columns) >= 2 and list(table.columns) == columns[: len(table.columns)]
    if not known or not table.index.equals(pd.RangeIndex(len(table))):
        found = ", ".join(map(str, table.columns))[:80]
        raise RunError(f"{file} has the columns {found!r}, not id, part; it is damaged")
    unknown = table[~table["part"].isin(PARTS) & ~table["part"].map(is_fold).astype(bool)]
    if len(unknown):
        row = unknown.iloc[0]
        raise RunError(f"{file}: slice {row['id']!r} has the part {row['part']!r}; there are: {', '.join(PARTS)}")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise RunError(f"{file}: slice {twice.iloc[0]!r} comes twice; the file is damaged")
    return table


def check_format(folder: Path) -> None:
    """Check that this gisegkit reads the run folder.

    A missing or damaged ``environment.json`` is no reason to refuse: whoever needs the file says so.

    Raises:
        RunError: if another version made it, in a format that is not read here.
    """
    try:
        environment = read_table(folder / "environment.json")
    except RunError:
        return
    found, versions = environment.get("format", 1), environment.get("versions")
    if found != FORMAT:
        made = versions.get("gisegkit") if isinstance(versions, dict) else None
        maker = f"gisegkit {made}" if made else "another gisegkit"
        raise RunError(
            f"{folder} was made by {maker} in format {found}, and this gisegkit reads format {FORMAT}: use "
            "the revision that made it, or train again with a recipe of today"
        )


def jsonable(value: Any) -> Any:
    """The value with NaN and infinities as null, numpy numbers as plain ones, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    number = float(value)
    return number if math.isfinite(number) else None
