"""A finished run predicts: its own submission, others beside it, and files that are no submission."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from gisegkit.build.session import Session
from gisegkit.errors import RunError
from gisegkit.recipe.load import load_recipe
from gisegkit.workflows.predict import predict


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished[0].path, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture
def talking(session):
    lines = []
    return Session(session.plugins, "cpu", say=lines.append), lines


def opened(session, path, *overrides, root=None):
    return session.open_run(path, root=root, overrides=overrides, command="predict")


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


def test_the_recipe_lies_beside_the_runs_own_submission(finished, session):
    run, _ = finished
    file = run.predictions / "recipe.toml"
    used = load_recipe(file, registries=session.plugins.registries)
    assert used.as_dict() == load_recipe(run.recipe, registries=session.plugins.registries).as_dict()
    assert file.read_text().startswith("# submission.csv: 10 slices, unlabelled\n# predicted by the run finished, ")


@pytest.mark.parametrize(
    ("part", "override", "name", "slices"),
    [
        ("validation", (), "validation", 10),
        (None, ("predict.part=validation",), "validation", 10),
        ("all", (), "all", 40),
        (None, ("evaluate.threshold=0.1",), "unlabelled", 10),
    ],
)
def test_other_parts_and_settings_leave_the_runs_own_submission(copied, talking, part, override, name, slices):
    session, lines = talking
    before = {file: file.read_bytes() for file in (copied / "predictions").iterdir()}
    report = (copied / "report.html").read_bytes()
    result = predict(*opened(session, copied, *override), part=part)
    assert (result.part, result.slices, result.own) == (name, slices, False)
    assert {file: file.read_bytes() for file in (copied / "predictions").iterdir()} == before
    assert (copied / "report.html").read_bytes() == report
    assert result.file.parent.parent == copied and result.file.name == "submission.csv"
    change = "evaluate.threshold: 0.5 -> 0.1" if override == ("evaluate.threshold=0.1",) else "predict.part: "
    assert change in (result.file.parent / "recipe.toml").read_text() and any(change in line for line in lines)
    assert any("20 of these 40 slices were trained on" in line for line in lines) is (name == "all")


def test_data_that_lack_slices_of_the_submission_leave_it(copied, talking, home, tmp_path):
    """A test folder that was replaced at the same place, as on a competition's server."""
    session, lines = talking
    run, experiment = opened(session, copied)
    table = pd.read_csv(run.submission, keep_default_na=False, dtype=str)
    table["id"] = "earlier_" + table["id"]
    table.to_csv(run.submission, index=False)
    before = run.submission.read_bytes()
    result = predict(run, experiment)
    assert not result.own and run.submission.read_bytes() == before
    assert any("10 slices of the run's own submission are not among these: earlier_" in line for line in lines)


def test_out_gets_the_recipe_beside_it(copied, session, tmp_path):
    result = predict(*opened(session, copied, "evaluate.threshold=0.3"), out=tmp_path / "x" / "mine.csv")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["mine.csv", "mine.recipe.toml"]
    text = (tmp_path / "x" / "mine.recipe.toml").read_text()
    assert text.startswith("# mine.csv: 10 slices, unlabelled\n") and "threshold = 0.3" in text
    assert result.file == tmp_path / "x" / "mine.csv"


@pytest.mark.parametrize("name", ["masks.nii.gz", "outmasks", "masks.csv.gz", "masks.png"])
def test_out_that_is_no_csv_is_refused_before_the_work(copied, session, tmp_path, name):
    (copied / "best.pt").unlink()  # so that nothing can be predicted
    with pytest.raises(RunError, match=r"let its name end in \.csv"):
        predict(*opened(session, copied), out=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_out_may_not_be_a_folder_or_the_runs_own_submission(copied, session, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RunError, match="is a folder"):
        predict(*opened(session, copied), out=tmp_path / "folder.csv")
    before = {file: file.read_bytes() for file in copied.rglob("*.csv")}
    for name in ("predictions/../predictions/submission.csv", "split.csv", "evaluation/by_slice.csv", "new/x.csv"):
        for override in ((), ("evaluate.threshold=0.3",)):
            with pytest.raises(RunError, match="lies in the run folder"):
                predict(*opened(session, copied, *override), out=copied / name)
    assert {file: file.read_bytes() for file in copied.rglob("*.csv")} == before


def test_a_damaged_submission_is_made_again(copied, talking):
    session, lines = talking
    before = (copied / "predictions" / "submission.csv").read_bytes()
    (copied / "predictions" / "submission.csv").write_text('"id,class')
    assert predict(*opened(session, copied)).own
    assert (copied / "predictions" / "submission.csv").read_bytes() == before
    assert any("is damaged and is made again" in line for line in lines)


@pytest.mark.parametrize("file", ["evaluation/recipe.toml", "evaluation/scores.json"])
def test_a_report_that_cannot_be_made_does_not_spoil_a_prediction(copied, talking, file):
    session, lines = talking
    (copied / file).unlink() if file.endswith("toml") else (copied / file).write_text("{}")
    assert predict(*opened(session, copied)).own
    assert any("warning: the submission is written, but the report could not be made again" in line for line in lines)
