"""The verb score: any submission file against the truth, scan by scan, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.components.datasets.uwmgi_rows import tidy
from gisegkit.components.datasets.uwmgi_tree import BEFORE_NUMBER, sizes_beside, spacing_beside
from gisegkit.data import rle
from gisegkit.data.planes import merge
from gisegkit.data.run_direction import direction
from gisegkit.data.submission import check_runs, missing_rows, read_submission, report
from gisegkit.data.tables import read_rows
from gisegkit.engine.scoring import ScanValues, Scoreboard
from gisegkit.engine.threaded_map import thread_count, threaded_map
from gisegkit.errors import DataError, SubmissionError
from gisegkit.runs.files import jsonable
from gisegkit.types import Metric, Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.types import MaskArray

Size = tuple[int, int]
"""height, width: pixels"""

Runs = dict[tuple[str, str], str]
"""Run lengths by id and class."""

AT_ONCE = 8
"""Slices whose runs are decoded in one call: enough to save its cost, few enough for a processor's cache."""


@dataclass(frozen=True)
class SubmissionScores:
    """A scored submission.

    Attributes:
        board: scores, tables and conventions.
        scans, slices: scored.
        scans_not_scored: scans of the truth of which the submission has no row.
        doubts: what looks wrong with the submission though it keeps to the format, a line each.
    """

    submission: Path
    truth: Path
    board: Scoreboard
    scans: int
    slices: int
    scans_not_scored: int
    doubts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Everything but the table by slice, ready for JSON; undefined numbers are None."""
        tables = self.board.tables()
        content: dict[str, Any] = jsonable(
            {
                "submission": self.submission,
                "truth": self.truth,
                "scans": self.scans,
                "slices": self.slices,
                "scans_not_scored": self.scans_not_scored,
                "doubts": list(self.doubts),
                "scores": self.board.scores(),
                "conventions": self.board.conventions,
                "by_class": tables["by_class"].to_dict("records"),
                "by_scan": tables["by_scan"].to_dict("records"),
            }
        )
        return content


def score_submission(
    submission: Path,
    truth: Path,
    *,
    metrics: Mapping[str, Metric],
    spacing: Mapping[str, float] | None = None,
    progress: Progress = silent,
) -> SubmissionScores:
    """Score a submission file against a file of true masks.

    Every scan of which the submission has a row must be there whole and is scored; the others are counted. Masks are
    held one scan at a time.

    Args:
        submission: columns ``id,class,predicted``.
        truth: columns ``id,class,segmentation`` as in the competition's ``train.csv``, and perhaps ``width`` and
            ``height`` in pixels; without these, the sizes come from the names of the scans in the folders ``train``
            and ``test`` beside the file.
        metrics: by the name that their scores carry.
        spacing: mm by column of ``gisegkit.types.SPACING``, of every scan, for metrics that measure in mm; None takes
            that of the competition's slices, where the scans lie beside the truth.
        progress: shown per scan.

    Raises:
        SubmissionError: if the submission breaks a rule of its format or misses rows of a scan.
        DataError: if the truth is not what it should be, or the size of a slice, or a spacing that a metric needs, is
            not known.
    """
    true = read_truth(truth)
    predicted, scans = _predicted(submission, true, truth)
    board = Scoreboard(metrics, true.classes)
    beside = spacing is None and any(getattr(metric, "spacing_columns", ()) for metric in metrics.values())

    def measure(item: tuple[str, list[str]]) -> ScanValues:
        scan, ids = item
        size = true.size(scan)
        prediction = _masks(predicted, ids, true.classes, size, submission).view(bool)
        masks = _masks(true.runs, ids, true.classes, size, truth)
        mm = spacing_beside(truth.parent, scan) if beside else spacing
        return board.measure(scan, ids, prediction, masks, spacing=mm)

    threads = thread_count()
    with closing(threaded_map(measure, scans.items(), threads=threads, ahead=threads)) as measured:
        for values in progress(measured, "score", len(scans)):
            board.record(values)
    count, slices = len(scans), sum(map(len, scans.values()))
    doubts = (*_doubts(submission, predicted, true), *_doubts(truth, true.runs, true))
    return SubmissionScores(submission, truth, board, count, slices, len(true.scans) - count, doubts)


def _doubts(path: Path, runs: Runs, true: Truth) -> Iterator[str]:
    """A line where most runs of a file look as if they were written along the columns."""
    sizes = ((key, text, true.sizes[key[0]]) for key, text in runs.items())
    found = direction((", ".join(key), text, *size) for key, text, size in sizes if size is not None)
    if found.doubtful:
        yield f"{path}: {found}"


def _predicted(submission: Path, true: Truth, truth: Path) -> tuple[Runs, dict[str, list[str]]]:
    """The submission's run lengths, and the scans of which it has rows with the ids of their slices.

    Raises:
        SubmissionError: if there are no rows, or some of a scan are missing.
        DataError: if its true masks are not complete and right.
    """
    rows = read_submission(submission, sizes=true.sizes, classes=true.classes, truth=str(truth))
    if rows.empty:
        raise SubmissionError(f"{submission} has no rows, so there is nothing to score")
    predicted: Runs = dict(zip(zip(rows["id"], rows["class"], strict=True), rows["predicted"], strict=True))
    touched = set(rows["id"])
    scans = {scan: ids for scan, ids in true.scans.items() if not touched.isdisjoint(ids)}
    missing = list(_missing(predicted, scans, true.classes))
    if missing:
        raise SubmissionError(report(submission, missing) + "\na scan is scored whole: give each of its slices a row")
    true.check(scans)
    return predicted, scans


def _missing(runs: Runs, scans: Mapping[str, Sequence[str]], classes: Sequence[str]) -> Iterator[str]:
    """A line for each slice that lacks rows."""
    for ids in scans.values():
        for slice_id in ids:
            if labels := [label for label in classes if (slice_id, label) not in runs]:
                yield missing_rows(slice_id, labels, classes)


@dataclass(frozen=True)
class Truth:
    """A file of true masks.

    Attributes:
        classes: in the order of the file.
        runs: run lengths by id and class.
        lines: the line of the file of each.
        sizes: of each slice by id, None if unknown.
        scans: ids of each scan's slices, in the order of their numbers.
    """

    path: Path
    classes: tuple[str, ...]
    runs: Runs
    lines: dict[tuple[str, str], int]
    sizes: dict[str, Size | None]
    scans: dict[str, list[str]]

    def check(self, scans: Mapping[str, Sequence[str]]) -> None:
        """Refuse scans whose true masks are not whole and right.

        Raises:
            DataError: with every problem.
        """
        problems = []
        unknown = [slice_id for ids in scans.values() for slice_id in ids if self.sizes[slice_id] is None]
        if unknown:
            raise DataError(
                f"{self.path}: the size of {unknown[0]} is not known ({len(unknown)} slices in all): give the file the "
                f"columns width and height, or put it beside the scans, "
                f"{self.path.parent / 'train'}/<case>/<scan>/scans/slice_<number>_<width>_<height>_...png"
            )
        for scan, ids in scans.items():
            sizes = {self.sizes[slice_id] for slice_id in ids}
            if len(sizes) > 1:
                problems.append(f"scan {scan} has slices of different sizes (height, width): {_listed(sizes)}")
            problems += _missing(self.runs, {scan: ids}, self.classes)
            for slice_id in ids:
                problems += self._problems(slice_id)
        if problems:
            raise DataError(report(self.path, problems))

    def _problems(self, slice_id: str) -> list[str]:
        problems = []
        for label in self.classes:
            key = (slice_id, label)
            if key not in self.runs:
                continue
            try:
                check_runs(self.runs[key], self.sizes[slice_id], place=f"line {self.lines[key]}: {slice_id}, {label}")
            except DataError as error:
                problems.append(str(error))
        return problems

    def size(self, scan: str) -> Size:
        """Height and width of a scan that was checked."""
        size = self.sizes[self.scans[scan][0]]
        if size is None:
            raise DataError(f"{self.path}: the size of scan {scan} is not known")
        return size


def read_truth(path: Path) -> Truth:
    """Read true masks, and find the size of each slice; runs are checked by ``Truth.check``.

    Raises:
        DataError: if a column is missing, a row comes twice, or a size is no number.
    """
    table = read_rows(path, ("id", "class", "segmentation"), skip_blanks=True)
    tidy(table)
    keys = list(zip(table["id"], table["class"], strict=True))
    lines: dict[tuple[str, str], int] = {}
    problems = []
    for key, line in zip(keys, table.index.tolist(), strict=True):
        if key in lines:
            problems.append(f"line {line}: a second row for {', '.join(key)}; the first is line {lines[key]}")
        lines.setdefault(key, line)
    if problems:
        raise DataError(report(path, problems))
    ids = list(dict.fromkeys(table["id"]))
    scans: dict[str, list[str]] = {}
    for slice_id in ids:
        scans.setdefault(slice_id.rpartition(BEFORE_NUMBER)[0] or slice_id, []).append(slice_id)
    for members in scans.values():
        members.sort(key=_number)
    named = {"width", "height"} <= set(table.columns)
    found = _sizes_in(path, table) if named else sizes_beside(path.parent, scans)
    return Truth(
        path=path,
        classes=tuple(dict.fromkeys(table["class"])),
        runs=dict(zip(keys, table["segmentation"], strict=True)),
        lines=lines,
        sizes={slice_id: found.get(slice_id) for slice_id in ids},
        scans=scans,
    )


def _sizes_in(path: Path, table: pd.DataFrame) -> dict[str, Size]:
    """Sizes from the columns width and height."""
    sizes: dict[str, Size] = {}
    for line, slice_id, height, width in table[["id", "height", "width"]].itertuples(name=None):
        size = _positive(height, path, line), _positive(width, path, line)
        if sizes.setdefault(slice_id, size) != size:
            raise DataError(f"{path}: line {line}: {slice_id} has another width or height than in its first row")
    return sizes


def _positive(text: str, path: Path, line: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise DataError(f"{path}: line {line}: width and height must be whole numbers above 0, not {text!r}")
    return int(text)


def _number(slice_id: str) -> tuple[int, str]:
    """Sorts slices 2 and 10 as numbers, padded with zeros or not."""
    number = slice_id.rpartition(BEFORE_NUMBER)[2]
    return (int(number) if number.isascii() and number.isdigit() else 0, slice_id)


def _listed(sizes: set[Size | None]) -> str:
    return ", ".join(str(size) for size in sorted(size for size in sizes if size is not None))


def _masks(runs: Runs, ids: Sequence[str], classes: Sequence[str], size: Size, path: Path) -> MaskArray:
    """``[D, H, W, K]`` uint8 of one scan."""
    scan = np.empty((len(ids), *size, len(classes)), dtype=np.uint8)
    for start in range(0, len(ids), AT_ONCE):
        keys = [(slice_id, label) for slice_id in ids[start : start + AT_ONCE] for label in classes]
        places = [f"{path}: {slice_id}, {label}" for slice_id, label in keys]
        planes = rle.decode_all([runs[key] for key in keys], height=size[0], width=size[1], places=places)
        for d, masks in enumerate(planes.reshape(-1, len(classes), *size), start):
            scan[d] = merge(masks)
    return scan
