"""Scores a model on whole scans at native size, scan by scan."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from gisegkit.data.spacing import spacing_at
from gisegkit.engine.overlap import ordered
from gisegkit.engine.predict import Scan
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import DataError
from gisegkit.types import Dataset


def score_scans(scans: Iterable[Scan], board: Scoreboard, dataset: Dataset, *, threads: int = 0) -> Generator[Scan]:
    """Add each scan to the board while it passes by.

    Args:
        threads: 1 scores in a thread, while the next scan is predicted; the board sees one scan at a time, in order.

    Raises:
        DataError: if a scan is not labelled; there is nothing to score it against.
    """
    ids, cases = dataset.table["id"].to_numpy(), dataset.table["group"].to_numpy()

    def score(scan: Scan) -> Scan:
        if scan.truth is None:
            raise DataError(f"scan {scan.volume} has slices without labels, so it cannot be scored; predict it instead")
        names, case = [str(ids[row]) for row in scan.rows], str(cases[scan.rows[0]])
        spacing = spacing_at(dataset.table, int(scan.rows[0]))
        board.add(scan.volume, names, scan.prediction, scan.truth, case=case, spacing=spacing)
        return scan

    return ordered(score, scans, threads=min(1, threads), ahead=1)
