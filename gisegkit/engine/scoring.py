"""Collects metric values scan by scan: sum, then divide. Keeps numbers for each slice and class, never a mask."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gisegkit.data.planes import count
from gisegkit.data.spacing import spacing_at, spacing_for
from gisegkit.engine.decision import Scan
from gisegkit.engine.monitor import directions
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import ComponentError, DataError
from gisegkit.types import IGNORE, Dataset, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gisegkit.types import BoolArray, FloatArray, MaskArray

ALL = "all"
"""Stands for all classes together in the tables' column ``class``."""


@dataclass(frozen=True)
class ScanValues:
    """The values of one scan: metric name to part name to ``[D, K]`` or ``[K]``, NaN where undefined.

    Attributes:
        name: the scan's name.
        place: columns of the tables that say where the scan belongs.
        pixels: of the truth, ``[D, K]``.
    """

    name: str
    place: Mapping[str, str]
    ids: tuple[str, ...]
    pixels: NDArray[np.int64]
    values: Mapping[str, Mapping[str, FloatArray]]


class Scoreboard:
    """The values of every metric for every scan added, and the means of them.

    Every mean runs over all defined values of the whole set, whatever scan they come from; NaN where none is defined.

    Args:
        metrics: the metrics by the name that their scores carry.
        classes: names of the K classes, in the order of the masks' last axis.
    """

    def __init__(self, metrics: Mapping[str, Metric], classes: Sequence[str]) -> None:
        self.metrics = dict(metrics)
        self.classes = tuple(classes)
        self._scans: dict[str, ScanValues] = {}

    @property
    def conventions(self) -> dict[str, str]:
        """Each metric's convention, to be printed beside its scores."""
        return {name: metric.convention for name, metric in self.metrics.items()}

    @property
    def parts(self) -> dict[str, list[str]]:
        """Each metric's parts, whose means make its score; empty before the first scan."""
        scans = list(self._scans.values())[:1]
        return {name: list(parts) for scan in scans for name, parts in scan.values.items()}

    @property
    def directions(self) -> dict[str, bool]:
        """Whether higher is better, for each of ``scores`` of which that is known; of metrics alone without scans."""
        known = directions(self.metrics, self.parts, self.classes if self._scans else ())
        return {key: higher for key, higher in known.items() if higher is not None}

    @property
    def recorded(self) -> list[ScanValues]:
        """What ``record`` took in, in that order."""
        return list(self._scans.values())

    def record(self, values: ScanValues) -> None:
        """Take in what ``measure`` found.

        Raises:
            DataError: if the scan was recorded before.
        """
        if values.name in self._scans:
            raise DataError(f"scan {values.name} is scored twice; a scan must be added whole, once")
        self._scans[values.name] = values

    def measure(
        self,
        scan: str,
        ids: Sequence[str],
        prediction: BoolArray,
        truth: MaskArray,
        *,
        case: str | None = None,
        spacing: Mapping[str, float] | None = None,
    ) -> ScanValues:
        """The values of one whole scan; changes nothing, so that several threads may call it at once.

        Args:
            scan: the scan's name.
            ids: of its D slices.
            prediction: ``[D, H, W, K]`` bool.
            truth: ``[D, H, W, K]`` uint8: 0, 1, or IGNORE, which counts as absent in prediction and truth.
            case: the case, if known; the tables by scan and by slice then have a column for it.
            spacing: mm by column of ``SPACING``, for metrics that measure in mm.

        Raises:
            DataError: if shapes or values do not fit, or a metric lacks spacing.
            ComponentError: if a metric gives values of another shape than its contract says.
        """
        expected = (len(ids), *truth.shape[1:3], len(self.classes))
        if prediction.shape != truth.shape or truth.shape != expected:
            raise DataError(
                f"scan {scan}: prediction {prediction.shape} and truth {truth.shape} must both be "
                f"[D, H, W, K] with {len(ids)} slices and {len(self.classes)} classes"
            )
        positive = truth.view(bool)  # a byte that is 0 or 1
        if truth.size and truth.max() > 1:
            positive, other = truth == 1, truth > 1
            if (truth[other] != IGNORE).any():
                raise DataError(f"scan {scan}: the truth has values other than 0, 1 and {IGNORE}")
            prediction = prediction & ~other
        values = {
            name: metric(prediction, positive, **spacing_for(name, metric, spacing or {}, place=f"scan {scan}"))
            for name, metric in self.metrics.items()
        }
        shapes = ((len(ids), len(self.classes)), (len(self.classes),))
        for name, parts in values.items():
            for part, array in parts.items():
                if array.shape not in shapes:
                    raise ComponentError(
                        f"metric {name!r}: part {part!r} has shape {array.shape}, not [D, K] = {shapes[0]} or [K]"
                    )
        place = {"scan": scan} if case is None else {"scan": scan, "case": case}
        return ScanValues(scan, place, tuple(ids), count(positive), values)

    def scores(self) -> dict[str, float]:
        """Scores of the whole set: ``name``, ``name/<part>`` where a metric has several parts, ``name/<class>``."""
        scans = list(self._scans.values())
        result: dict[str, float] = {}
        for name in self.metrics:
            result |= self._summary(name, scans, slice(None))
            for k, label in enumerate(self.classes):
                result[f"{name}/{label}"] = self._summary(name, scans, k)[name]
        return result

    def tables(self) -> dict[str, pd.DataFrame]:
        """Wide tables to open in a spreadsheet, a column for each metric and part; undefined values are NaN.

        Returns:
            by_class: a row a class, and one for all. by_scan: scan, case, class (and all), number of slices.
            by_slice: scan, case, id, class, pixels of the truth; only what metrics compute for slices.
        """
        scans = list(self._scans.values())
        return {
            "by_class": pd.DataFrame(row for row in self._rows(scans)),
            "by_scan": pd.DataFrame(
                {**scan.place, "class": row.pop("class"), "slices": len(scan.ids), **row}
                for scan in scans
                for row in self._rows([scan])
            ),
            "by_slice": pd.concat(map(self._by_slice, scans), ignore_index=True) if scans else pd.DataFrame(),
        }

    def _rows(self, scans: Sequence[ScanValues]) -> Iterator[dict[str, Any]]:
        """Means over the scans for each class, then for all."""
        columns: list[tuple[str, Any]] = [*((label, k) for k, label in enumerate(self.classes)), (ALL, slice(None))]
        for label, column in columns:
            row: dict[str, Any] = {"class": label}
            for name in self.metrics:
                row |= self._summary(name, scans, column)
            yield row

    def _by_slice(self, scan: ScanValues) -> pd.DataFrame:
        """A row a slice and class; whole columns, since a large set has more rows than should be objects."""
        columns: dict[str, Any] = {key: [value] * scan.pixels.size for key, value in scan.place.items()}
        columns["id"] = np.repeat(np.array(scan.ids, dtype=object), len(self.classes))
        columns["class"] = list(self.classes) * len(scan.ids)
        columns["true_pixels"] = scan.pixels.ravel()
        for name, parts in scan.values.items():
            columns |= {column_of(name, part, parts): v.ravel() for part, v in parts.items() if v.ndim == 2}
        return pd.DataFrame(columns)

    def _summary(self, name: str, scans: Sequence[ScanValues], column: Any) -> dict[str, float]:
        """The metric's score and the means of its parts over the classes that ``column`` picks."""
        if not scans:
            return {name: math.nan}
        parts = scans[0].values[name]
        means = {part: _mean([scan.values[name][part][..., column] for scan in scans]) for part in parts}
        score = {name: float(self.metrics[name].combine(means))}
        return score | {column_of(name, part, parts): mean for part, mean in means.items() if len(parts) > 1}


def column_of(name: str, part: str, parts: Collection[str]) -> str:
    """The tables' column of a metric's part: the metric's own where it has only one."""
    return f"{name}/{part}" if len(parts) > 1 else name


def _mean(values: Sequence[FloatArray]) -> float:
    """The mean of every defined value."""
    flat = np.concatenate([np.ravel(part) for part in values])
    defined = flat[~np.isnan(flat)]
    return float(defined.sum() / defined.size) if defined.size else math.nan


def score_scans(scans: Iterable[Scan], board: Scoreboard, dataset: Dataset, *, threads: int = 0) -> Generator[Scan]:
    """Add each scan to the board, in order, while it passes by.

    Args:
        threads: so many scans are scored at once, while the next ones are predicted; 0 scores right here.

    Raises:
        DataError: if a scan is not labelled; there is nothing to score it against.
    """
    ids, cases = dataset.table["id"].to_numpy(), dataset.table["case"].to_numpy()

    def measure(scan: Scan) -> tuple[Scan, ScanValues]:
        if scan.truth is None:
            raise DataError(f"scan {scan.name} has slices without labels, so it cannot be scored; predict it instead")
        names, case = [str(ids[row]) for row in scan.rows], str(cases[scan.rows[0]])
        spacing = spacing_at(dataset.table, int(scan.rows[0]))
        return scan, board.measure(scan.name, names, scan.prediction, scan.truth, case=case, spacing=spacing)

    with closing(threaded_map(measure, scans, threads=threads, ahead=threads)) as measured:
        for scan, values in measured:
            board.record(values)
            yield scan
            del scan  # else it would live until the next one is scored
