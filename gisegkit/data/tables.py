"""CSV files as people and spreadsheets write them, read as text with the number of every line."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gisegkit.errors import DataError, did_you_mean

NAMES = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What separates columns in files that are called CSV too."""


def read_rows(
    path: Path,
    columns: Sequence[str],
    *,
    error: type[DataError] = DataError,
    separators: str = ",",
    skip_blanks: bool = False,
    any_case: Sequence[str] = (),
) -> pd.DataFrame:
    """A CSV file as text, with the number of each line as its index; a column may have any name.

    A byte order mark, blanks around the names of columns, blank lines at the start and the end, and a column without
    name and values (a comma at the end of every line) are passed over.

    Args:
        path: the file.
        columns: those that it must have; others are kept.
        error: the type of error that is raised.
        separators: what may separate columns; the one that the first line has most of does.
        skip_blanks: pass over all blank lines, not only those at the end.
        any_case: names of columns that may be in capital letters.

    Raises:
        DataError: if the file is missing, is no table, lacks a column.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror or cause}") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{path} is no table in CSV: {cause}; save it as UTF-8") from cause
    blank = re.match(r"(?:[ \t]*(?:\r\n|\r|\n))*", text)
    assert blank is not None
    before, text = blank[0].splitlines(), text[blank.end() :]
    head = re.split(r"[\r\n]", text, maxsplit=1)[0]
    separator = max(separators, key=head.count)
    _refuse_twice(path, head, separator, len(before) + 1, error)
    table = _parse(path, text, separator, columns, error)
    table.index = pd.RangeIndex(len(before) + 2, len(before) + len(table) + 2)
    table.columns = [small if (small := name.lower()) in any_case else name for name in table.columns.str.strip()]
    _refuse_lack(path, table, columns, head, error)
    return _without_blanks(table, skip_blanks=skip_blanks)


def _refuse_twice(path: Path, head: str, separator: str, line: int, error: type[DataError]) -> None:
    """Check that no two columns have one name."""
    names = [name.strip() for name in next(csv.reader([head], delimiter=separator), []) if name.strip()]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise error(f"{path}: line {line}: the column {twice[0]!r} is there twice; remove one, or give it another name")


def _parse(path: Path, text: str, separator: str, columns: Sequence[str], error: type[DataError]) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a field too many would be dropped
            return pd.read_csv(
                io.StringIO(text),
                sep=separator,
                dtype=str,
                index_col=False,
                keep_default_na=False,
                na_filter=False,
                skip_blank_lines=False,  # so that rows and lines go together
            )
    except pd.errors.EmptyDataError as cause:
        raise error(f"{path} is empty; its first line must be {','.join(columns)}") from cause
    except pd.errors.ParserWarning as cause:
        raise error(f"{path}: {_too_many(text, separator)}") from cause
    except pd.errors.ParserError as cause:
        if "saw" in str(cause):  # it counts fields, but not in words
            raise error(f"{path}: {_too_many(text, separator)}") from cause
        raise error(f"{path} is no table in CSV: {str(cause).strip()}") from cause


def _too_many(text: str, separator: str) -> str:
    """Which line has a field more than the first line has columns."""
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    columns = len(next(reader))
    for row in reader:
        if len(row) > columns:
            ends = not any(row[columns:])
            what = f"ends with {'a separator' if len(row) == columns + 1 else 'separators'} too many" if ends else "has"
            fields = f"{len(row)} fields, and the first line has {columns} columns"
            return f"line {reader.line_num} {what}{': ' if ends else ' '}{fields}; remove what is too much"
    return "a line has more fields than the first line has columns"


def _refuse_lack(path: Path, table: pd.DataFrame, columns: Sequence[str], head: str, error: type[DataError]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if not missing:
        return
    found = [str(column) for column in table.columns]
    for mark, name in NAMES.items():
        if len(found) == 1 and mark in head:
            raise error(
                f"{path}: line 1: its columns are separated by {name} ({mark!r}), not by commas; save it as CSV with "
                "commas (spreadsheets offer that when they export)"
            )
    hints = " ".join(filter(None, (did_you_mean(column, found) for column in missing)))
    raise error(
        f"{path}: line 1: no column {', '.join(repr(column) for column in missing)}; found "
        f"{', '.join(repr(column) for column in found)}{'; ' + hints if hints else ''}"
    )


def _without_blanks(table: pd.DataFrame, *, skip_blanks: bool) -> pd.DataFrame:
    """Without the columns that a comma at every line's end makes, and without blank lines at the end."""
    empty = [
        name for name in table.columns[1:] if str(name).startswith("Unnamed: ") and not table[name].str.strip().any()
    ]
    table = table.drop(columns=empty)
    filled = table.iloc[:, 0].str.strip() != ""
    filled[~filled] = (table[~filled] != "").any(axis=1)  # a line that lacks its first value only is not blank
    if skip_blanks:
        return table[filled]
    return table.loc[: filled[filled].index.max() if filled.any() else 1]
