"""``giseg tune``: of a run, of its folds; what it writes, and what evaluation makes of it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from gisegkit.cli import main
from gisegkit.errors import DataError, RunError
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.folds import train_folds
from gisegkit.workflows.tune import tune

FEW = ("threshold", "min_area.pixels")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, session, recipe):
    """A run of three folds."""
    sets = ('split.fold="all"', "train.epochs=2", 'augmentation.name="none"', "optimizer.lr=0.005")
    return train_folds(session.experiment(recipe(*sets)), tmp_path_factory.mktemp("tune") / "run").path


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, that a test may change."""
    return shutil.copytree(trained, tmp_path / "run")


def opened(session, path, *sets):
    return session.open_run(path, overrides=('metric=[{name="dice"}]', *sets))


@pytest.mark.slow
def test_folds_are_tuned_and_evaluation_decides_as_tuning_says(session, run):
    result = tune(*opened(session, run), only=FEW, apply=True)
    content = json.loads((run / "tuning.json").read_text())
    assert (content["folds"], content["cases"], content["metric"]) == (3, 3, "dice")
    assert content["searched"] == list(FEW)
    assert content["applied"] and content["why"] == "as asked"
    assert StoredDecision.read(run / "decision.json").as_dict() == content["proposed"]
    scores = evaluate(*session.open_run(run)).scores["scores"]
    assert scores["dice"] == pytest.approx(result.before + result.found.optimistic, abs=1e-9)


@pytest.mark.slow
def test_what_each_fold_is_scored_with_is_the_others_choice(session, run):
    """The score of a fold's cases, decided by hand as the file says, is part of the pooled one."""
    folder, experiment = opened(session, run)
    result = tune(folder, experiment, only=("threshold",), apply=False)
    assert sorted(result.by_fold) == ["0", "1", "2"]
    total = []
    for fold, state in sorted(result.found.by_fold.items()):
        thresholds = dict(zip(experiment.classes, (settings[0] for settings in state), strict=True))
        text = ", ".join(f"{name} = {value}" for name, value in thresholds.items())
        sets = ('metric=[{name="dice"}]', f"evaluate.threshold={{{text}}}")
        one = evaluate(*session.open_run(run / f"fold{fold}", overrides=sets), out=run.parent / f"out{fold}")
        total.append(one.files.folder / "by_slice.csv")
    values = np.concatenate(
        [np.genfromtxt(file, delimiter=",", names=True, dtype=None, encoding="utf-8")["dice"] for file in total]
    )
    assert result.after == pytest.approx(np.nanmean(values), abs=0.02)  # kept probabilities have 8 bits


@pytest.mark.slow
def test_three_cases_show_no_gain_and_the_decision_stays(session, run):
    before = (run / "decision.json").read_bytes()
    result = tune(*opened(session, run), only=("threshold",))
    assert not result.applied
    assert (run / "decision.json").read_bytes() == before
    assert not result.changes or "3 cases can show no gain (6 are needed)" in result.why


@pytest.mark.slow
def test_a_dry_run_writes_no_decision(session, run):
    before = (run / "decision.json").read_bytes()
    assert not tune(*opened(session, run), only=("threshold",), apply=False).applied
    assert (run / "decision.json").read_bytes() == before
    assert (run / "tuning.json").is_file()


@pytest.mark.slow
def test_a_run_of_one_network_is_tuned_on_its_validation_cases(session, recipe, tmp_path):
    """Its cases are divided anew; with one validation case there is nothing to divide."""
    from gisegkit.workflows.train import train

    one = train(
        session.experiment(recipe("train.epochs=1", "dataset.days=2", 'split.group="scan"', "split.folds=2")),
        tmp_path / "one",
    )
    result = tune(*opened(session, one.path), only=("threshold",), apply=False)
    assert len(result.by_fold) == result.cases >= 2
    assert result.slices == sum(
        line.endswith(",validation") or ",validation," in line
        for line in (one.path / "split.csv").read_text().splitlines()
    )


def test_one_case_is_refused(session, finished):
    run, _ = finished
    with pytest.raises(DataError, match="there is one case only"):
        tune(*opened(session, run.path), only=("threshold",), apply=False)


def test_slices_that_were_trained_on_are_refused(session, finished):
    run, _ = finished
    folder, experiment = opened(session, run.path)
    split = folder.split()
    held_out = set(split["id"][split["part"] == "validation"])
    table = experiment.dataset.table  # as data that hold only what the run was trained on
    table.loc[table["id"].isin(held_out), "labelled"] = False
    with pytest.raises(RunError, match="20 of the 20 labelled slices of these data trained every network"):
        tune(folder, experiment, only=("threshold",))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metric", "dise"), "--metric dise: the recipe has no such metric; did you mean 'dice'"),
        (("--only", "treshold"), "--only treshold: there is no such number of a decision; did you mean 'threshold'"),
    ],
)
@pytest.mark.slow
def test_typos_are_told(run, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        main(["tune", str(run), *words, "--device", "cpu"])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_tells_gain_changes_and_what_is_written(run, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["tune", str(run), "--only", "threshold", "--metric", "dice", "--dry-run", "--device", "cpu"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert "dice (higher is better) of 30 slices, 3 cases" in lines
    assert any(line.startswith("  each fold decided as the others say") and "(no interval)" in line for line in lines)
    assert "decision.json stays as it is: " in lines[-1]
