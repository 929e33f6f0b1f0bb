"""A finished run: evaluated, predicted, moved to another folder with the data elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from gisegkit.errors import RunError
from gisegkit.results import evaluate, open_run, predict


def test_a_run_folder_works_elsewhere_with_data_elsewhere(home, session, finished, tmp_path):
    run, scores = finished
    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    data = next(folder for folder in (home / "cache").iterdir() if (folder / "train.csv").is_file())
    shutil.copytree(data, tmp_path / "data")
    text = (moved / "recipe.toml").read_text().replace((home / "cache").as_posix(), (tmp_path / "nowhere").as_posix())
    (moved / "recipe.toml").write_text(text)
    folder, moved_recipe = open_run(moved, session, root=str(tmp_path / "data"))
    assert evaluate(folder, moved_recipe, session)["scores"] == scores["scores"]
    file, name, count = predict(folder, moved_recipe, session, out=tmp_path / "submission.csv")
    assert (name, count) == ("unlabelled", 10)
    assert file.read_bytes() == run.submission.read_bytes()
    assert not (tmp_path / "nowhere").exists()


def test_predict_part_validation(session, finished, tmp_path):
    run, _ = finished
    folder, opened = open_run(run.path, session, root=None)
    file, name, count = predict(folder, opened, session, out=tmp_path / "fold.csv", part="validation")
    assert (name, count) == ("validation", 10)
    assert len(pd.read_csv(file)) == 30


def test_by_slice_scores_average_to_the_score(finished):
    run, scores = finished
    by_slice = pd.read_csv(run.evaluation / "by_slice.csv")
    assert by_slice["dice"].mean() == pytest.approx(scores["scores"]["dice"], abs=1e-9)


def test_the_previews_slices_do_not_keep_their_scans_in_memory(monkeypatch, session, finished):
    run, _ = finished
    kept = []
    monkeypatch.setattr("gisegkit.results.write_preview", lambda run, panels, *args, **options: kept.extend(panels))
    evaluate(*open_run(run.path, session, root=None), session)
    assert kept
    for panel in kept:
        assert panel.prediction.base is None and panel.truth.base is None


def test_damaged_checkpoint_is_an_error(home, session, finished, tmp_path):
    run, _ = finished
    copy = tmp_path / "damaged"
    shutil.copytree(run.path, copy)
    data = (copy / "best.pt").read_bytes()
    (copy / "best.pt").write_bytes(data[: len(data) // 2])
    folder, opened = open_run(copy, session, root=None)
    with pytest.raises(RunError, match="damaged"):
        evaluate(folder, opened, session)


def test_open_run_says_what_is_missing(tmp_path, session):
    with pytest.raises(RunError, match="no run folder"):
        open_run(Path(tmp_path), session, root=None)


def test_submission_holds_every_unlabelled_slice_and_class(finished):
    run, _ = finished
    table = pd.read_csv(run.submission, keep_default_na=False)
    split = run.split()
    assert split is not None
    expected = sorted(split["id"][split["part"] == "unlabelled"])
    assert sorted(table["id"].unique()) == expected
    assert (
        table.groupby("id")["class"].apply(list)
        == pd.Series([["large_bowel", "small_bowel", "stomach"]] * 10, index=expected)
    ).all()


def test_best_epoch_is_evaluated(finished):
    run, scores = finished
    epochs = run.metrics()
    best = [entry for entry in epochs if entry["best"]][-1]
    assert scores["epoch"] == best["epoch"]
    assert scores["scores"]["uwmgi_score"] == pytest.approx(best["scores"]["uwmgi_score"], abs=1e-12)
    assert best["scores"]["uwmgi_score"] == max(entry["scores"]["uwmgi_score"] for entry in epochs)
