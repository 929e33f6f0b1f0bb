"""Submission files: ``id,class,predicted``, one row a slice and class, masks as run lengths.

They are read strictly: every problem of a file is named with its line.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pandas as pd

from gisegkit.data import rle
from gisegkit.data.tables import read_rows
from gisegkit.errors import DataError, SubmissionError, count, did_you_mean

COLUMNS = ("id", "class", "predicted")
SHOWN = 20
"""How many problems of a file one report spells out."""

# --- write ----------------------------------------------------------------------------------------------------------


class SubmissionLines:
    """Writes the lines of a submission into an open file.

    Args:
        file: opened with ``newline=""``.
        name: of the file, for messages.
        order: (id, class) of the rows that a ``sample_submission.csv`` asks for: they come first and in this order,
            and all of them must be there if one is. The rows are then held in memory. None keeps the order in which
            they come, and holds none.
        left_out: ids that are left out on purpose: rows that the order asks for are then empty masks.

    Attributes:
        filled: ids of such rows.
    """

    def __init__(
        self,
        file: IO[str],
        name: str,
        *,
        order: Sequence[tuple[str, str]] | None = None,
        left_out: Collection[str] = (),
    ) -> None:
        self._left_out = set(left_out)
        self.filled: tuple[str, ...] = ()
        self._writer = csv.writer(file, lineterminator="\n")
        self._name = name
        self._order = order
        self._held: dict[tuple[str, str], str | None] = {}
        self._writer.writerow(COLUMNS)

    def add(self, slice_id: str, label: str, runs: str) -> None:
        """Add a row; no runs are an empty mask.

        Raises:
            SubmissionError: if the row was there before.
        """
        if (slice_id, label) in self._held:
            raise SubmissionError(f"{self._name}: a second row for {slice_id}, {label}; each slice and class has one")
        if self._order is None:
            self._writer.writerow((slice_id, label, runs))
        self._held[slice_id, label] = None if self._order is None else runs

    def finish(self) -> None:
        """Write the rows that wait for their place.

        Raises:
            SubmissionError: if a row is asked for and missing.
        """
        if self._order is None:
            return
        if any(key in self._held for key in self._order):
            empty = [key for key in self._order if key not in self._held and key[0] in self._left_out]
            self._held |= dict.fromkeys(empty, "")
            self.filled = tuple(dict.fromkeys(slice_id for slice_id, _ in empty))
        missing = [key for key in self._order if key not in self._held]
        wanted = [] if len(missing) == len(self._order) else self._order
        if missing and wanted:
            problems = [f"no row for {slice_id}, {label}" for slice_id, label in missing]
            raise SubmissionError(report(Path(self._name), problems))
        for key in dict.fromkeys((*wanted, *self._held)):
            self._writer.writerow((*key, self._held[key]))


# --- read -----------------------------------------------------------------------------------------------------------


def read_submission(
    path: Path,
    *,
    sizes: Mapping[str, tuple[int, int] | None] | None = None,
    classes: Sequence[str] | None = None,
    truth: str = "the truth",
) -> pd.DataFrame:
    """A submission whose every row is right.

    Args:
        path: the file.
        sizes: (height, width) in pixels of every slice that there is, by id, None if unknown; other ids are then
            refused, and runs that end beyond their slice.
        truth: what these slices come from, for messages.
        classes: the classes that there are; others are then refused.

    Returns:
        The columns ``line`` (in the file, from 1), ``id``, ``class`` and ``predicted`` (text, empty for no run).

    Raises:
        SubmissionError: with line and reason of every problem of the rows, the first 20 spelt out; an unknown slice or
            class is one problem, however many rows name it. One line if none of the slices is known.
    """
    table = read_rows(path, COLUMNS, error=SubmissionError)
    extra = [column for column in table.columns if column not in COLUMNS]
    if extra:
        raise SubmissionError(
            f"{path}: line 1: the columns must be {','.join(COLUMNS)} and no others; found also "
            f"{', '.join(repr(column) for column in extra)} (pandas writes its index unless told index=False)"
        )
    if sizes is not None:
        _refuse_foreign(path, table["id"], sizes, truth)
    problems: dict[tuple[str, ...], list[str]] = {}  # by what is wrong: the first place, and then the others
    first: dict[tuple[str, str], int] = {}
    for line, slice_id, label, runs in table[list(COLUMNS)].itertuples(name=None):
        key = (slice_id, label)
        if key in first:
            found = f"line {line}: a second row for {slice_id}, {label}; the first is line {first[key]}"
            problems[str(line), "twice"] = [found]
        first.setdefault(key, line)
        for what, found in _problems(line, slice_id, label, runs, sizes, classes):
            problems.setdefault(what, []).append(found)
    if problems:
        more = {found[0]: len(found) - 1 for found in problems.values()}
        lines = [f"{line} (and {count(others, 'more row')})" if others else line for line, others in more.items()]
        raise SubmissionError(report(path, lines))
    table.insert(0, "line", table.index)
    return table.reset_index(drop=True)


def _refuse_foreign(path: Path, ids: pd.Series[str], sizes: Mapping[str, object], truth: str) -> None:
    """One line instead of a problem for each slice, where a submission and its truth have nothing in common."""
    named = [slice_id for slice_id in dict.fromkeys(ids) if slice_id]
    if named and not any(slice_id in sizes for slice_id in named):
        slices = f"none of its {len(named)} slices is" if len(named) > 1 else "its only slice is not"
        if any(slice_id.strip() in sizes for slice_id in named):
            raise SubmissionError(f"{path}: its ids have blanks around them (the first is {named[0]!r}); remove them")
        there = f", whose first slice is {next(iter(sizes))!r}" if sizes else ", which has no slices"
        raise SubmissionError(
            f"{path}: {slices} in {truth}{there} (the submission's first is {named[0]!r}); is that the truth of "
            "another data set?"
        )


def read_ids(path: Path) -> list[str]:
    """The ids of a submission, each once, in their order.

    Raises:
        SubmissionError: if the file is missing or is no submission.
    """
    return list(dict.fromkeys(read_rows(path, ("id",), error=SubmissionError)["id"]))


def _problems(
    line: int,
    slice_id: str,
    label: str,
    runs: str,
    sizes: Mapping[str, tuple[int, int] | None] | None,
    classes: Sequence[str] | None,
) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with one row by itself: what it is (rows with the same mistake give the same), and in words."""
    own = (str(line),)
    if not slice_id or not label:
        yield own, f"line {line}: no {'class' if slice_id else 'id'}"
        return
    if sizes is not None and slice_id not in sizes:
        yield ("slice", slice_id), f"line {line}: the truth has no slice {slice_id!r}"
    if classes is not None and label not in classes:
        near = did_you_mean(label, classes)
        found = f"line {line}: the truth has no class {label!r}; {near or 'it has ' + ', '.join(classes)}"
        yield ("class", label), found
    if runs:
        size = sizes.get(slice_id) if sizes is not None else None
        try:
            check_runs(runs, size, place=f"line {line}: {slice_id}, {label}")
        except DataError as error:
            yield own, str(error)


def check_runs(text: str, size: tuple[int, int] | None, *, place: str) -> None:
    """Refuse runs that are no mask of a slice, without making the mask.

    Args:
        text: the runs.
        size: (height, width) in pixels; None leaves the end of the slice unchecked.
        place: file or line, for the message.

    Raises:
        DataError: with place and reason.
    """
    pairs = rle.runs(text, place=place)
    if size is not None and len(pairs) and int(pairs[-1].sum()) - 1 > size[0] * size[1]:
        rle.decode(text, height=size[0], width=size[1], place=place)  # refuses, with the run that goes too far


def missing_rows(slice_id: str, missing: Sequence[str], classes: Sequence[str]) -> str:
    """What to say of a slice that lacks rows; one problem, whatever the number of classes."""
    labels = "any class" if len(missing) == len(classes) > 1 else ", ".join(missing)
    return f"no row for {slice_id}, {labels}"


def report(path: Path, problems: Sequence[str]) -> str:
    """The problems of a file as one text, the first 20 of them spelt out."""
    lines = [f"{path}: {count(len(problems), 'problem')}"]
    lines += [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more")
    return "\n".join(lines)
