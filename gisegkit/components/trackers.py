"""Trackers: what follows a training from outside and keeps its course for other programs."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gisegkit.types import EpochReport, Outcome, RunFacts


class CSVTracker:
    """Writes one row an epoch to history.csv, for spreadsheets; an undefined value is an empty cell.

    Args:
        folder: the folder that history.csv is written to.
    """

    def __init__(self, *, folder: str | Path) -> None:
        self.path = Path(folder) / "history.csv"

    def start(self, recipe: Mapping[str, Any], run: RunFacts) -> None:
        """Take the start of a run, of which a history has no row.

        Args:
            recipe: the filled recipe.
            run: its folder.
        """

    def report(self, report: EpochReport) -> None:
        """Write the epoch's row; after a resume it replaces the rows of this and later epochs.

        Args:
            report: the epoch that has just ended.
        """
        row: dict[str, Any] = {
            "epoch": report.epoch,
            "loss": report.loss,
            "validation_loss": report.validation_loss,
            "learning_rate": report.learning_rate,
            "seconds": report.seconds,
            "images_per_second": report.images_per_second,
            "peak_memory": report.peak_memory,
            "monitored": report.monitored,
            "best": int(report.best),
            **{f"loss/{name}": value for name, value in report.losses.items()},
            **report.scores,
        }
        cells = {name: "" if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        rows = [*(earlier for earlier in self._rows() if int(earlier["epoch"]) < report.epoch), cells]
        # The scores of a validated epoch may come first in a later row, so the header is the union of all rows.
        header = list(dict.fromkeys(name for row in rows for name in row))
        scratch = self.path.with_suffix(".csv.tmp")
        with scratch.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, header, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(scratch, self.path)

    def finish(self, scores: Mapping[str, float], outcome: Outcome) -> None:
        """Take the end of a run, of which a history has no row.

        Args:
            scores: what the run came to.
            outcome: how it ended.
        """

    def _rows(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
