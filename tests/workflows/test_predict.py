"""A finished run predicts: its own submission, others beside it, and files that are no submission."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from gisegkit.build.session import Session
from gisegkit.data import rle
from gisegkit.errors import ComponentError, RunError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner
from gisegkit.workflows.predict import predict


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


# --- writers --------------------------------------------------------------------------------------------------------

SEVERAL = (
    "writer=[{name='submission'}, {name='masks'}, {name='probabilities', dtype='float32'}, "
    "{name='masks', layout='classes', folder='again'}]"
)


def listed(folder):
    content = json.loads((folder / "files.json").read_text())
    return {entry["name"] for entry in content["files"]}


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_several_writers_receive_one_prediction(copied, talking):
    """Masks, run lengths and probabilities agree; what is decided again from the probabilities is equal to the byte."""
    session, _ = talking
    run, experiment = opened(session, copied, SEVERAL)
    result = predict(run, experiment)
    folder = result.folder
    assert folder.parent == copied and folder != run.predictions and not result.own
    assert [name for name, _ in result.written] == ["submission", "masks", "probabilities", "masks"]
    assert files_in(folder) == listed(folder) | {"files.json", "recipe.toml"}
    assert result.file.read_bytes() == run.submission.read_bytes()
    table = pd.read_csv(result.file, keep_default_na=False).set_index(["id", "class"])["predicted"]
    lines = []
    for file in sorted((folder / "probabilities").glob("*.npz")):
        with np.load(file) as scan:
            masks = experiment.decision(scan["probabilities"])
            for d, name in enumerate(scan["ids"].tolist()):
                for k, label in enumerate(scan["classes"].tolist()):
                    lines.append(f"{name},{label},{rle.encode(masks[d, :, :, k])}\n")
                    for place in ("masks", "again"):
                        image = cv2.imread(str(folder / place / label / f"{name}.png"), cv2.IMREAD_UNCHANGED)
                        np.testing.assert_array_equal(image, masks[d, :, :, k] * 255)
                        assert rle.encode(image > 0) == table[name, label]
    assert "".join(["id,class,predicted\n", *lines]) == result.file.read_text()


def test_the_runs_own_predictions_are_listed(finished):
    run, _ = finished
    content = json.loads((run.predictions / "files.json").read_text())
    assert [entry["name"] for entry in content["files"]] == ["submission.csv"]
    assert content["files"][0]["size"] == run.submission.stat().st_size
    assert (content["run"], content["part"], len(content["ids"])) == ("finished", "unlabelled", 10)


@pytest.mark.slow
def test_a_run_without_a_submission(copied, talking):
    session, lines = talking
    path = copied / "recipe.toml"
    path.write_text(path.read_text().replace('[[writer]]\nname = "submission"', '[[writer]]\nname = "masks"'))
    shutil.rmtree(copied / "predictions")
    run, experiment = opened(session, copied)
    first = predict(run, experiment)
    assert first.own and first.folder == first.file == run.predictions
    before = {name: (run.predictions / name).read_bytes() for name in files_in(run.predictions)}
    assert len(before) == 30 + 2 + 2  # 10 slices of 3 classes, two tables, files.json and recipe.toml
    assert predict(*opened(session, copied)).own
    assert {name: (run.predictions / name).read_bytes() for name in files_in(run.predictions)} == before
    content = json.loads((run.predictions / "files.json").read_text())
    (run.predictions / "files.json").write_text(json.dumps(content | {"ids": [*content["ids"], "earlier"]}))
    assert not predict(*opened(session, copied)).own
    assert any("1 slice of the run's own predictions are not among these: earlier" in line for line in lines)


@pytest.mark.slow
def test_out_takes_the_submission_and_a_folder_beside_it_the_rest(copied, session, tmp_path):
    result = predict(*opened(session, copied, SEVERAL), out=tmp_path / "mine.csv")
    assert sorted(path.name for path in tmp_path.glob("mine*")) == ["mine.csv", "mine.files", "mine.recipe.toml"]
    assert (result.file, result.folder) == (tmp_path / "mine.csv", tmp_path / "mine.files")
    names = listed(result.folder)
    assert files_in(result.folder) == names | {"files.json"} and "submission.csv" not in names
    assert result.file.read_bytes() == (copied / "predictions/submission.csv").read_bytes()
    (copied / "best.pt").unlink()  # so that nothing can be predicted
    with pytest.raises(
        RunError, match=r"mine\.files: exists already, and submission, masks, probabilities, masks write"
    ):
        predict(*opened(session, copied, SEVERAL), out=tmp_path / "mine.csv")


def test_out_without_a_submission_is_refused_before_the_work(copied, session, tmp_path):
    (copied / "best.pt").unlink()
    with pytest.raises(RunError, match="the recipe writes none, only masks"):
        predict(*opened(session, copied, "writer.0.name=masks"), out=tmp_path / "mine.csv")


class Full:
    """A writer whose disk is full at the third slice."""

    wants = "masks"

    def begin(self, facts, out):
        self.out, self.left = out, 2

    def write(self, facts, masks, probabilities):
        if not self.left:
            raise OSError(28, "No space left on device")
        self.left -= 1
        with self.out.path(f"{facts.id}.txt") as path:
            path.write_text("x")

    def finish(self):
        return "never"


class Odd(Full):
    """Wants what nobody has."""

    wants = "logits"


@pytest.fixture
def with_plugin(copied):
    plugins = load_plugins(selection="none")
    adder = Adder(Owner("giseg-full", "0.1"))
    adder.writer("full", Full)
    adder.writer("odd", Odd)
    for component in adder.components:
        plugins.registries["writer"].add(component)
    return Session(plugins, "cpu")


def test_a_prediction_that_fails_leaves_the_earlier_submission_and_no_list(with_plugin, copied):
    before = (copied / "predictions/submission.csv").read_bytes()
    with pytest.raises(RunError, match=r"--set writer.*: writer 'full' cannot write: .*No space left"):
        predict(*opened(with_plugin, copied, "writer=[{name='submission'}, {name='full'}]"))
    (folder,) = copied.glob("predictions-*")
    assert len(files_in(folder)) == 2  # two slices, no list and no half submission
    assert all(name.endswith(".txt") for name in files_in(folder))
    assert (copied / "predictions/submission.csv").read_bytes() == before


def test_a_writer_that_wants_something_else_is_refused(with_plugin, copied):
    with pytest.raises(ComponentError, match=r"writer 'odd' of giseg-full 0.1 has wants = 'logits'; valid is 'masks'"):
        predict(*opened(with_plugin, copied, "writer.0.name=odd"))
