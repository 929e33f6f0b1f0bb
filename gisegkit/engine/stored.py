"""Probabilities that were kept: on their way into a file while slices are predicted, and out of files again.

What comes out is what prediction gives, scan by scan, one slice after another at native size, so that deciding and
scoring take it as they take a prediction.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gisegkit.data.inputs import Input
from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter, from_bytes
from gisegkit.engine.predictor import ScanProbabilities, SliceProbabilities
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import RunError
from gisegkit.types import AnyArray, FloatArray, MaskArray, Progress, silent

if TYPE_CHECKING:
    import pandas as pd


def kept_scans(
    scans: Generator[ScanProbabilities], writer: ProbabilityWriter, table: pd.DataFrame
) -> Generator[ScanProbabilities]:
    """The scans, each slice of which is written to a file while it passes by.

    Args:
        scans: of ``predict_scans`` with ``sized``.
        table: of the dataset.
    """
    ids = table["id"].astype(str).to_numpy(dtype=object)
    with closing(scans):
        for scan in scans:
            passing = ScanProbabilities(scan.name, scan.rows, _kept(scan, writer, ids))
            yield passing
            passing.skip()
            del scan, passing


def _kept(scan: ScanProbabilities, writer: ProbabilityWriter, ids: AnyArray) -> Iterator[SliceProbabilities]:
    begun = False
    for item in scan:
        if item.sized is None:
            raise RuntimeError(f"scan {scan.name} was predicted without sized=True, so nothing can be kept of it")
        if not begun:
            height, width = item.sized.shape[:2]
            writer.begin(scan.name, depth=len(scan), size=(height, width))
            begun = True
        writer.write(str(ids[item.row]), item.sized)
        yield item._replace(sized=None)
        del item


@dataclass(frozen=True)
class Stored:
    """The kept probabilities of a run or of its folds.

    Attributes:
        files: each slice is in one of them.
        source: of the network, which knows the way back to native size.
        weight: in the mean over runs.
        order: for each class of the mean, its place among those of the files.
    """

    files: tuple[ProbabilityReader, ...]
    source: Input
    weight: float = 1.0
    order: tuple[int, ...] = ()

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The file of each slice, by its id."""
        return {name: at for at, file in enumerate(self.files) for ids in file.scans.values() for name in ids}

    def native(self, row: int, values: MaskArray) -> FloatArray:
        """Bytes ``[h, w, K]`` of a slice as probabilities ``[H, W, K]``, its classes in the order of the mean."""
        found = self.source.preprocess.invert(from_bytes(values), self.source.native(row))
        return found[..., list(self.order)] if self.order and self.order != (*range(len(self.order)),) else found


class _Bytes(NamedTuple):
    """What the files hold of a slice, one for each run."""

    row: int
    values: tuple[MaskArray, ...]


def stored_scans(
    runs: Sequence[Stored],
    rows: Sequence[int] | AnyArray,
    *,
    threads: int = 0,
    progress: Progress = silent,
    label: str = "read",
) -> Generator[ScanProbabilities]:
    """The kept probabilities of rows, scan by scan as ``predict_scans`` yields them; of several runs the weighted mean.

    Memory does not depend on the number of scans.

    Args:
        runs: each holds every row; the truth is that of the first one's source.
        rows: of the dataset's table, in any order.
        threads: that bring slices to native size while the next ones are read; 0 does it right here.
        progress: shown per slice under ``label``.

    Raises:
        RunError: if a file lacks a row or is damaged.
    """
    source = runs[0].source
    table = source.dataset.table
    names, ids = table["scan"].to_numpy(), table["id"].astype(str).to_numpy(dtype=object)
    ordered = np.sort(np.asarray(rows, dtype=np.int64))  # the table is sorted by scan and position
    labelled = table["labelled"].to_numpy(dtype=bool)
    incomplete = set(names[ordered[~labelled[ordered]]])

    def native(item: _Bytes) -> SliceProbabilities:
        truth = None if names[item.row] in incomplete else source.truth(item.row)
        found = [run.native(item.row, values) for run, values in zip(runs, item.values, strict=True)]
        return SliceProbabilities(item.row, mean(found, [run.weight for run in runs]), truth)

    read = _read(runs, progress(ordered.tolist(), label, len(ordered)), names, ids)
    natives = threaded_map(native, read, threads=threads, ahead=2 * threads)
    with closing(natives):
        for name, group in groupby(ordered, key=lambda row: str(names[row])):
            own = list(group)
            scan = ScanProbabilities(name, own, islice(natives, len(own)))
            yield scan
            scan.skip()
            del scan


def mean(values: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """The weighted mean of arrays of one shape, float32; a single one is returned as it is."""
    if len(values) == 1:
        return values[0]
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    total = np.zeros(values[0].shape, np.float32)
    for value, share in zip(values, shares, strict=True):
        total += np.float32(share) * value
    return np.clip(total, 0, 1, out=total)  # the rounded shares may add up to a little more than 1


def _read(runs: Sequence[Stored], rows: Iterable[int], names: AnyArray, ids: AnyArray) -> Generator[_Bytes]:
    """The bytes of the rows, in rising order."""
    scan, opened = "", [_OpenScan(run, "") for run in runs]
    for row in rows:
        if str(names[row]) != scan:
            scan = str(names[row])
            opened = [_OpenScan(run, scan) for run in runs]
        yield _Bytes(row, tuple(one.take(str(ids[row])) for one in opened))


class _OpenScan:
    """One scan of a run's files, which may hold some of its slices each."""

    def __init__(self, run: Stored, scan: str) -> None:
        self.run = run
        self.scan = scan
        self._open: dict[int, Iterator[tuple[str, MaskArray]]] = {}

    def take(self, slice_id: str) -> MaskArray:
        """The bytes of a slice, which comes after those that were taken before.

        Raises:
            RunError: if no file has it.
        """
        at = self.run.places.get(slice_id)
        if at is None:
            files = ", ".join(str(file.path) for file in self.run.files)
            raise RunError(f"slice {slice_id} is not in {files}; remove these files, and evaluate the run again")
        if at not in self._open:
            self._open[at] = self.run.files[at].slices(self.scan)
        for name, values in self._open[at]:
            if name == slice_id:
                return values
        raise RunError(
            f"{self.run.files[at].path} has slice {slice_id} at another place of scan {self.scan} than the data; "
            "remove the file, and evaluate the run again"
        )
