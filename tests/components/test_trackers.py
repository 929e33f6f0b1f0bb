"""trackers.py: history.csv holds each epoch once, whatever was resumed."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from gisegkit.components.trackers import CSVTracker
from gisegkit.types import EpochReport, RunFacts


def report(epoch: int, loss: float = 0.5, **scores: float) -> EpochReport:
    return EpochReport(
        epoch=epoch,
        epochs=9,
        loss=loss,
        scores=scores,
        monitored=scores.get("dice", math.nan),
        best=epoch == 2,
        learning_rate=1e-3,
        seconds=2.0,
        images_per_second=8.0,
        peak_memory=1024,
        state={},
    )


def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")


def test_one_row_an_epoch_and_a_column_a_score(tmp_path):
    tracker = CSVTracker(folder=tmp_path)
    tracker.report(report(1, 0.75))
    tracker.report(report(2, 1 / 3, dice=0.25, **{"dice/stomach": math.nan}))
    tracker.start({"name": "mine"}, RunFacts("run", str(tmp_path), False, ("stomach",), 0))
    tracker.finish({"dice": 0.25}, "finished")
    table = history(tmp_path)
    assert table["epoch"].tolist() == [1, 2]
    assert table["loss"].tolist() == [0.75, 1 / 3]
    assert table["best"].tolist() == [0, 1]
    assert table["dice"].isna().tolist() == [True, False]
    assert table["dice/stomach"].isna().all()
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_a_resumed_run_replaces_its_later_epochs(tmp_path):
    tracker = CSVTracker(folder=str(tmp_path))
    for epoch in (1, 2, 3):
        tracker.report(report(epoch, loss=epoch))
    CSVTracker(folder=tmp_path).report(report(2, loss=7.0))
    table = history(tmp_path)
    assert table["epoch"].tolist() == [1, 2]
    assert table["loss"].tolist() == [1.0, 7.0]


def test_undefined_values_are_empty_cells(tmp_path):
    CSVTracker(folder=tmp_path).report(report(1, dice=math.nan))
    assert "nan" not in (tmp_path / "history.csv").read_text()
    assert history(tmp_path).isna()[["monitored", "dice"]].all(axis=None)
