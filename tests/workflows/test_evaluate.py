"""A finished run evaluated: its own evaluation, others beside it, moved data, partial data, damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gisegkit.data.folds import split_digest
from gisegkit.errors import RecipeError, RunError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.differences import Difference
from gisegkit.recipe.load import load_recipe
from gisegkit.runs.checkpoints import WEIGHTS, unpack
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import Evaluation, _same_folder, open_run
from gisegkit.types import silent
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.predict import predict


@pytest.fixture(scope="session")
def data(home, finished):
    """The folder of the phantom that the finished run was trained on."""
    return next(folder for folder in (home / "cache").iterdir() if (folder / "train.csv").is_file())


def uwmgi(session, run, root, *overrides):
    """The run's recipe on data in the competition's format, as an opened run has it."""
    sets = ["dataset.name=uwmgi", "dataset.exclude=none", *overrides]
    return session.open_run(run, root=str(root), overrides=sets)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_run_folder_works_elsewhere_with_data_elsewhere(home, session, finished, data, tmp_path):
    run, scores = finished
    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    shutil.copytree(data, tmp_path / "data")
    text = (moved / "recipe.toml").read_text().replace((home / "cache").as_posix(), (tmp_path / "nowhere").as_posix())
    (moved / "recipe.toml").write_text(text)
    folder, moved_recipe = uwmgi(session, moved, tmp_path / "data")
    assert evaluate(folder, moved_recipe).scores["scores"] == scores["scores"]
    result = predict(folder, moved_recipe, out=tmp_path / "submission.csv")
    assert (result.part, result.slices, result.own) == ("unlabelled", 10, False)
    assert result.file.read_bytes() == run.submission.read_bytes()
    assert not (tmp_path / "nowhere").exists()


# --- the run's own evaluation, and others ---------------------------------------------------------------------------


def test_the_runs_own_evaluation_holds_the_recipe_and_says_what_was_scored(finished, session):
    run, scores = finished
    assert (scores["part"], scores["slices"], scores["expected"], scores["trained_on"]) == ("validation", 10, 10, 0)
    assert scores["changes"] == [] and scores["run"] == "finished"
    used = load_recipe(run.evaluation / "recipe.toml", registries=session.plugins.registries)
    assert used.as_dict() == load_recipe(run.recipe, registries=session.plugins.registries).as_dict()
    assert scores["training"]["seconds"] == pytest.approx(sum(entry["seconds"] for entry in run.metrics()))
    assert scores["higher_is_better"]["dice"] is True and scores["bounds"]["dice"] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("evaluate.threshold=0.2", "evaluate.threshold: 0.5 -> 0.2"),
        ("postprocess.0.pixels=100", "postprocess.0.pixels: 3 -> 100"),
        ("metric.1.unit=scan", 'metric.1.unit: "slice" -> "scan"'),
        ("input.edge=zero", 'input.edge: "clamp" -> "zero"'),
    ],
)
@pytest.mark.slow
def test_other_settings_get_a_folder_of_their_own_and_leave_a_trace(copied, talking, override, change):
    session, lines = talking
    before = files(copied)
    run, recipe = open_run(copied, session.plugins.registries, overrides=[override])
    result = evaluate(run, session.experiment(recipe))
    assert not result.own and result.files.folder.parent == copied
    assert {path: content for path, content in files(copied).items() if path in before} == before
    assert result.scores["changes"] == [change] and any(change in line for line in lines)
    used = load_recipe(result.files.recipe, registries=session.plugins.registries)
    assert used.as_dict() == recipe.as_dict()
    assert change.replace(">", "&gt;").replace('"', "&#34;") in result.files.report.read_text()
    assert {path.name for path in result.files.folder.iterdir()} == {
        *("scores.json", "recipe.toml", "preview.png", "report.html"),
        *("by_class.csv", "by_scan.csv", "by_slice.csv"),
    }
    again = evaluate(*session.open_run(copied, overrides=[override]))
    assert again.files == result.files


@pytest.mark.slow
def test_settings_that_change_no_result_are_the_runs_own(copied, session):
    sets = ["evaluate.batch_size=3", "train.workers=0", "input.store=off", "train.channels_last=false"]
    before = json.loads((copied / "evaluation" / "scores.json").read_text())
    result = evaluate(*session.open_run(copied, overrides=sets))
    assert result.own and result.scores["scores"] == pytest.approx(before["scores"], nan_ok=True, abs=1e-6)
    assert sorted(path.name for path in copied.glob("evaluation*")) == ["evaluation"]


@pytest.mark.slow
def test_another_spelling_of_the_same_folder_is_no_change(finished, session, data, tmp_path):
    run, experiment = uwmgi(session, finished[0].path, data)
    folder = tmp_path / "there"
    evaluate(run, experiment, out=folder)
    text = (folder / "recipe.toml").read_text()
    assert f'root = "{data.as_posix()}"' in text
    assert _same_folder(Difference("dataset.root", str(data), f"{data}/../{data.name}"))
    assert not _same_folder(Difference("dataset.root", str(data), f"{data}/.."))


@pytest.mark.parametrize(
    "override",
    ["split.fold=1", "optimizer.lr=5", "train.epochs=100", "model.encoder=resnet18", "seed=3", "loss.0.weight=2"],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_settings_without_effect_are_refused(finished, session, override, command):
    with pytest.raises(RecipeError, match=r"has no effect on giseg (evaluate|predict): the run is trained already"):
        open_run(finished[0].path, session.plugins.registries, overrides=[override], command=command)


def test_all_settings_without_effect_are_named_at_once(finished, session):
    sets = ["split.fold=1", "evaluate.threshold=0.2", "predict.part=all"]
    with pytest.raises(RecipeError, match="2 mistakes") as error:
        open_run(finished[0].path, session.plugins.registries, overrides=sets)
    assert "split.fold" in str(error.value) and "predict.part" in str(error.value)


@pytest.mark.slow
def test_out_is_a_new_folder(copied, session, tmp_path):
    out = tmp_path / "deep" / "evaluation"
    result = evaluate(*session.open_run(copied), out=out)
    assert result.files == Evaluation.at(out) and (out / "scores.json").is_file()
    with pytest.raises(RunError, match="exists already and is left as it is"):
        evaluate(*session.open_run(copied), out=out)
    shutil.rmtree(copied / "evaluation")  # not made yet, and to be made by the run's own recipe alone
    for name in ("evaluation", "predictions"):
        with pytest.raises(RunError, match="is the run's own"):
            evaluate(*session.open_run(copied), out=copied / name)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        evaluate(*session.open_run(copied), out=blocked / "evaluation")


# --- data that are not those of the run -----------------------------------------------------------------------------


@pytest.fixture
def relabel(data, tmp_path):
    """A copy of the data whose table is changed by a function."""

    def copy(change):
        folder = tmp_path / "data"
        shutil.copytree(data, folder)
        table = pd.read_csv(folder / "train.csv", dtype=str, keep_default_na=False)
        change(table).to_csv(folder / "train.csv", index=False)
        return folder

    return copy


def validation_ids(run):
    split = run.split()
    return split["id"][split["part"] == "validation"].tolist()


@pytest.mark.slow
def test_a_part_of_the_validation_slices_is_told_and_is_no_evaluation_of_the_run(finished, copied, talking, data):
    session, lines = talking
    run, experiment = uwmgi(session, copied, data)
    ids = validation_ids(run)
    shutil.copytree(data, copied.parent / "less")
    for name in ids[:3]:
        case, day = name.split("_")[:2]
        for file in (copied.parent / "less" / "train" / case / f"{case}_{day}" / "scans").glob(f"slice_{name[-4:]}_*"):
            file.unlink()
    run, experiment = uwmgi(session, copied, copied.parent / "less")
    result = evaluate(run, experiment)
    assert (result.scores["slices"], result.scores["expected"]) == (7, 10)
    assert any("only 7 of the run's 10 validation slices" in line and ids[0] in line for line in lines)
    assert "only 7 of 10 slices" in result.files.report.read_text()
    assert not result.own


@pytest.mark.slow
def test_a_truth_that_changed_is_no_evaluation_of_the_run(copied, talking, relabel):
    """The data lie where they lay, their ids are the same, one mask is another."""
    session, lines = talking
    run = open_run(copied, session.plugins.registries)[0]
    ids = validation_ids(run)

    def emptied(table):
        table.loc[table["id"].isin(ids), "segmentation"] = ""
        return table

    before = files(copied / "evaluation")
    _, experiment = uwmgi(session, copied, relabel(emptied))
    (copied / "recipe.toml").write_text(experiment.recipe.text())  # as if the run had been trained on these
    result = evaluate(*session.open_run(copied))
    assert result.scores["changes"] == [] and not result.own
    assert files(copied / "evaluation") == before
    assert any("the truth of" in line and "has changed" in line for line in lines)


@pytest.mark.slow
def test_data_with_none_of_the_validation_slices_are_scored_whole_and_called_so(copied, talking, data):
    session, lines = talking
    run = open_run(copied, session.plugins.registries)[0]
    other = copied.parent / "other"
    shutil.copytree(data, other)
    held_out = validation_ids(run)[0].split("_")[0]
    shutil.rmtree(other / "train" / held_out)
    table = pd.read_csv(other / "train.csv", dtype=str, keep_default_na=False)
    table[~table["id"].str.startswith(f"{held_out}_")].to_csv(other / "train.csv", index=False)
    result = evaluate(*uwmgi(session, copied, other))
    assert (result.scores["part"], result.scores["slices"], result.scores["trained_on"]) == ("train", 20, 20)
    assert any("none of the run's 10 validation slices is in these data" in line for line in lines)
    assert any("20 of these 20 slices were trained on" in line for line in lines)


@pytest.mark.slow
def test_folds_of_one_are_called_what_they_are(home, session, recipe, copied):
    """``split.folds = 1`` trains and validates on everything: no validation."""
    run = open_run(copied, session.plugins.registries)[0]
    split = run.split()
    split.loc[split["part"] != "unlabelled", "part"] = "train+validation"
    run.write_split(split)
    for name in ("best.pt", "last.pt"):
        rewrite(copied / name, lambda content: content["facts"].update(split=split_digest(split)))
    result = evaluate(run, session.open_run(copied)[1])
    assert (result.scores["part"], result.scores["trained_on"], result.scores["slices"]) == ("train+validation", 30, 30)


def rewrite(file, change):
    """Change a checkpoint as if it had been written so."""
    run = RunDir.open(file.parent)
    content = unpack(file, WEIGHTS)
    change(content)
    run._save(file.name, {key: value for key, value in content.items() if key not in ("format", "digest")})


@pytest.mark.slow
def test_a_split_that_changed_is_refused(copied, session):
    file = copied / "split.csv"
    text = file.read_text()
    swapped = text.replace(",train,", ",x,").replace(",validation,", ",train,").replace(",x,", ",validation,")
    cut = "\n".join(line for line in text.splitlines() if "_0003,validation," not in line) + "\n"
    digest, pixels = text.splitlines()[-1].split(",")[2:]
    for content in (swapped, cut, text.replace(digest, digest[::-1]), text.replace(f",{pixels}\n", f",1{pixels}\n")):
        assert content != text
        file.write_text(content)
        for verb in (evaluate, predict):
            with pytest.raises(RunError, match="changed or damaged"):
                verb(*session.open_run(copied))
    file.unlink()
    with pytest.raises(RunError, match=r"split\.csv is missing"):
        evaluate(*session.open_run(copied))


# --- what is written ------------------------------------------------------------------------------------------------


def test_by_slice_scores_average_to_the_score(finished):
    run, scores = finished
    by_slice = pd.read_csv(run.evaluation / "by_slice.csv")
    assert by_slice["dice"].mean() == pytest.approx(scores["scores"]["dice"], abs=1e-9)


def test_the_previews_slices_do_not_keep_their_scans_in_memory(monkeypatch, session, copied):
    kept = []
    monkeypatch.setattr(
        "gisegkit.workflows.evaluate.write_preview", lambda file, panels, *args, **options: kept.extend(panels)
    )
    evaluate(*session.open_run(copied))
    assert kept
    for panel in kept:
        assert panel.prediction.base is None and panel.truth.base is None


def test_damaged_checkpoint_is_an_error(session, copied):
    data = (copied / "best.pt").read_bytes()
    (copied / "best.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match="damaged"):
        evaluate(*session.open_run(copied))


def test_open_run_says_what_is_missing(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        open_run(Path(tmp_path), load_plugins(selection="none").registries)


def test_best_epoch_is_evaluated(finished):
    run, scores = finished
    epochs = run.metrics()
    best = [entry for entry in epochs if entry["best"]][-1]
    assert scores["epoch"] == best["epoch"]
    assert scores["scores"]["uwmgi_score"] == pytest.approx(best["scores"]["uwmgi_score"], abs=1e-12)
    assert best["scores"]["uwmgi_score"] == max(entry["scores"]["uwmgi_score"] for entry in epochs)


@pytest.mark.slow
def test_another_metric_may_take_the_place_of_the_monitored_one(copied, session):
    recipe = copied / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('monitor = ""', 'monitor = "uwmgi_score"'))
    result = evaluate(*session.open_run(copied, overrides=["metric.0.name=iou"]))
    assert {"iou", "dice"} <= set(result.scores["scores"])
    assert [change.partition(":")[0] for change in result.scores["changes"]] == ["metric.0.name"]


@pytest.mark.parametrize("file", ["evaluation/by_slice.csv", "evaluation/scores.json", "evaluation/recipe.toml"])
@pytest.mark.slow
def test_a_damaged_evaluation_is_made_again(copied, talking, file):
    session, lines = talking
    (copied / file).write_bytes(b"\xff\xfe\x00")
    assert evaluate(*session.open_run(copied)).own
    assert any("is damaged and is made again" in line for line in lines) is file.endswith("by_slice.csv")


def test_what_is_missing_is_told_before_the_work(copied, session, monkeypatch):
    monkeypatch.setattr("gisegkit.workflows.evaluate.score_together", lambda *arguments: pytest.fail("scored"))
    (copied / "environment.json").unlink()
    with pytest.raises(RunError, match=r"environment\.json is missing"):
        evaluate(*session.open_run(copied))


@pytest.mark.slow
def test_an_unfinished_run_is_called_so(copied, talking):
    session, lines = talking
    metrics = copied / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:2]))
    result = evaluate(*session.open_run(copied))
    assert any("has trained 2 of at most 3 epochs so far" in line for line in lines)
    assert result.scores["training"]["epochs"] == 2


def test_the_preview_and_the_report_name_the_folder(finished):
    run, _ = finished
    assert "<h1>finished: tiny</h1>" in run.report.read_text()
    assert np.frombuffer(run.preview.read_bytes()[:4], np.uint8).tolist() == [137, 80, 78, 71]


@pytest.mark.slow
def test_a_metric_twice_has_both_scores_under_their_names(finished, session, tmp_path):
    """By slice and by scan: the latter is what the metric gives for the scan as a whole."""
    twice = (
        "metric=[{name='dice', unit='slice'}, {name='dice', as='dice_scan', unit='scan'}]",
        "evaluate.threshold=0.2",
    )
    run, experiment = session.open_run(finished[0].path, overrides=twice, command="evaluate")
    scores = evaluate(run, experiment, out=tmp_path / "out").scores
    assert list(scores["conventions"]) == ["dice", "dice_scan"]
    assert scores["conventions"]["dice"] != scores["conventions"]["dice_scan"]
    table = pd.read_csv(tmp_path / "out/by_scan.csv").query("`class` != 'all'")
    counted = {name: dict.fromkeys(experiment.classes, 0.0) for name in ("2 x both", "sum")}
    (scan,) = experiment.scans(experiment.split.validation, label="", progress=silent)
    for k, label in enumerate(experiment.classes):
        predicted, true = scan.prediction[..., k], scan.truth[..., k] == 1
        counted["2 x both"][label] = 2 * (predicted & true).sum()
        counted["sum"][label] = predicted.sum() + true.sum()
    expected = [counted["2 x both"][label] / counted["sum"][label] for label in experiment.classes]
    np.testing.assert_allclose(table["dice_scan"], expected)
    assert not np.allclose(table["dice"], expected)
    assert scores["scores"]["dice_scan"] == pytest.approx(np.mean(expected))
    page = (tmp_path / "out/report.html").read_text()
    assert "dice_scan" in page
