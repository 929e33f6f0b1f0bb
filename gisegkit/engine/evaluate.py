"""Scores a model on whole scans at native size, scan by scan."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

from gisegkit.data.spacing import spacing_at
from gisegkit.engine.overlap import ordered
from gisegkit.engine.predict import Scan
from gisegkit.engine.scoring import ScanValues, Scoreboard
from gisegkit.errors import DataError
from gisegkit.types import Dataset


def score_scans(scans: Iterable[Scan], board: Scoreboard, dataset: Dataset, *, threads: int = 0) -> Generator[Scan]:
    """Add each scan to the board, in order, while it passes by.

    Args:
        threads: so many scans are scored at once, while the next ones are predicted; 0 scores right here.

    Raises:
        DataError: if a scan is not labelled; there is nothing to score it against.
    """
    ids, cases = dataset.table["id"].to_numpy(), dataset.table["group"].to_numpy()

    def measure(scan: Scan) -> tuple[Scan, ScanValues]:
        if scan.truth is None:
            raise DataError(f"scan {scan.volume} has slices without labels, so it cannot be scored; predict it instead")
        names, case = [str(ids[row]) for row in scan.rows], str(cases[scan.rows[0]])
        spacing = spacing_at(dataset.table, int(scan.rows[0]))
        return scan, board.measure(scan.volume, names, scan.prediction, scan.truth, case=case, spacing=spacing)

    with closing(ordered(measure, scans, threads=threads, ahead=threads)) as measured:
        for scan, values in measured:
            board.record(values)
            yield scan
            del scan  # else it would live until the next one is scored
