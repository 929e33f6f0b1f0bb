"""Several folds of one recipe: each an ordinary run, together one score, one prediction and one thing to resume."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gisegkit.data.geometry import Stretch
from gisegkit.errors import DataError, Interrupted, RecipeError, RunError, TrainingError
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import folds_of, members_of
from gisegkit.types import silent
from gisegkit.workflows.compare import compare
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.folds import is_trained, refit_recipe, run_folds, train_folds
from gisegkit.workflows.predict import predict
from gisegkit.workflows.run import run_recipe
from gisegkit.workflows.train import train

pytestmark = pytest.mark.slow  # whole trainings


def scores(run):
    return json.loads((run.path / "evaluation" / "scores.json").read_text())


def kept(run):
    """The kept bytes of every fold, by scan."""
    found = {}
    for file in sorted(run.path.glob("fold*/oof/probabilities.npz")):
        with np.load(file) as content:
            found |= {(file.parent.parent.name, name): content[name] for name in content.files if name != "index.json"}
    return found


def values(experiment, rows):
    """The probabilities of rows, slice by slice."""
    scans = experiment.probabilities(rows, label="", progress=silent)
    return [item.values for scan in scans for item in scan]


# --- training -------------------------------------------------------------------------------------------------------


def test_every_case_validates_in_exactly_one_fold_of_one_drawing(folds_run):
    run = folds_run.run
    whole = run.split()
    assert set(whole["part"]) == {"fold0", "fold1", "fold2", "unlabelled"}
    for fold in range(3):
        split = RunDir(run.path / f"fold{fold}").split()
        assert (split["part"] == "validation").tolist() == (whole["part"] == f"fold{fold}").tolist()
        assert (split["part"] == "train").sum() + (split["part"] == "validation").sum() == 12
    cases = whole[whole["part"] != "unlabelled"].assign(case=whole["id"].str[:2])
    assert (cases.groupby("case")["part"].nunique() == 1).all() and cases["case"].nunique() == 6


def test_a_fold_equals_the_run_of_that_fold_alone(several, folds_run, tmp_path):
    alone = run_recipe(several.experiment("split.fold=1"), tmp_path / "alone").run
    fold = RunDir(folds_run.run.path / "fold1")
    assert fold.recipe.read_text() == alone.recipe.read_text()
    assert (fold.path / "split.csv").read_bytes() == (alone.path / "split.csv").read_bytes()
    assert fold.weights()["digest"] == alone.weights()["digest"]
    assert (fold.evaluation / "by_slice.csv").read_bytes() == (alone.evaluation / "by_slice.csv").read_bytes()


def test_the_data_are_listed_once_for_all_folds(several, tmp_path, monkeypatch):
    from gisegkit.build import data, datasets

    built, build = [], data.build_component
    for module in (data, datasets):
        monkeypatch.setattr(
            module, "build_component", lambda spec, *a, **k: built.append(spec.kind) or build(spec, *a, **k)
        )
    train_folds(several.experiment("train.epochs=1"), tmp_path / "run")
    assert built.count("dataset") == built.count("normalization") == built.count("metric") == 1
    assert built.count("optimizer") == built.count("model") == 3


class KilledError(BaseException):
    """What ends a command at any place, and no handler of it expects."""


KILL = {"at": -1, "seen": 0, "folder": ""}
"""When files in which folder are opened for the how manieth time; an audit hook cannot be taken away again."""


def count_opened(event, arguments):
    if KILL["folder"] and event == "open" and KILL["folder"] in os.fspath(arguments[0] if arguments else ""):
        KILL["seen"] += 1
        if KILL["seen"] == KILL["at"]:
            raise KilledError


def guarded(event, arguments):
    if isinstance(arguments[0] if event == "open" else None, str | os.PathLike):
        count_opened(event, arguments)


sys.addaudithook(guarded)


@pytest.fixture
def killing(tmp_path):
    yield lambda at, folder: KILL.update(at=at, seen=0, folder=str(folder))
    KILL.update(at=-1, folder="")


def test_three_kills_at_random_change_nothing_and_no_finished_fold_trains_again(several, folds_run, tmp_path, killing):
    rng, out, said, kills = np.random.default_rng(4), tmp_path / "run", [], 0
    for _ in range(3):
        killing(int(rng.integers(20, 120)), out)
        with suppress(KilledError):
            run_folds(several.experiment(say=said.append), out, resume=True, refit=True)
        kills += KILL["seen"] == KILL["at"]
        said.append("killed")
    killing(-1, out)
    resumed = run_folds(several.experiment(say=said.append), out, resume=True, refit=True)
    assert kills == 3
    finished: set[str] = set()
    for line in said:
        name, _, rest = line.partition(": ")
        assert not (rest.startswith("epoch") and name in finished)
        finished |= {name} if rest == "is trained already" else set()
    assert sum(": epoch" in line for line in said) <= 4 * 3 + kills
    first, again = folds_run.run, resumed.run
    assert scores(first)["scores"] == scores(again)["scores"]
    for name in ("evaluation/by_slice.csv", "evaluation/by_scan.csv", "predictions/submission.csv", "split.csv"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()
    assert kept(first).keys() == kept(again).keys()
    assert all((values == kept(again)[key]).all() for key, values in kept(first).items())
    for folder in ("fold0", "fold1", "fold2", "refit"):
        one, other = (RunDir(run.path / folder).weights()["digest"] for run in (first, again))
        assert one == other


def test_what_is_finished_is_left_alone(several, folds_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folds_run.run.path, copy)
    before = {file: file.stat().st_mtime_ns for file in copy.glob("fold*/**/*") if file.is_file()}
    run_folds(several.experiment(), copy, resume=True)
    assert [line for line in several.lines if "trained already" in line] == [
        f"fold {fold}: is trained already" for fold in range(3)
    ]
    assert before == {file: file.stat().st_mtime_ns for file in copy.glob("fold*/**/*") if file.is_file()}


def test_a_changed_key_is_refused_on_resume_and_a_missing_split_told(several, folds_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folds_run.run.path, copy)
    for override in ("optimizer.lr=0.5", "split.fold=[0, 1]", "split.fold=0"):
        with pytest.raises(RunError, match=rf"another recipe[\s\S]*{override.split('=')[0]}: "):
            run_folds(several.experiment(override), copy, resume=True)
    with pytest.raises(RunError, match="exists already"):
        run_folds(several.experiment(), copy)
    text = (copy / "split.csv").read_text()
    (copy / "split.csv").write_text(text.replace("fold1", "fold9").replace("fold2", "fold1").replace("fold9", "fold2"))
    with pytest.raises(RunError, match=r"split\.csv and that of .*fold1 are not of one drawing"):
        run_folds(several.experiment(), copy, resume=True)
    (copy / "split.csv").unlink()
    with pytest.raises(RunError, match=r"split\.csv is missing"):
        run_folds(several.experiment(), copy, resume=True)


def test_ctrl_c_says_which_fold_and_how_to_resume_all(several, tmp_path):
    def stop(line):
        if line.startswith("fold 1: epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="fold 1: interrupted in epoch 2; 1 epoch is kept") as caught:
        train_folds(several.experiment(say=stop), tmp_path / "run")
    assert caught.value.folder == str(tmp_path / "run")


def test_what_is_wrong_is_told_before_anything_is_made(several, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(DataError, match="7 folds need at least 7 cases"):
        train_folds(several.experiment("split.folds=7"), out)
    with pytest.raises(RecipeError, match="monitor"):
        train_folds(several.experiment("train.monitor=dice/none"), out)
    with pytest.raises(Exception, match="no part"):
        train_folds(several.experiment('train.freeze=["none"]'), out)  # found by the first fold
    train_folds(several.experiment("train.epochs=1", "split.fold=[2]"), out)  # nothing is in the way


def test_one_run_of_several_folds_is_refused(several, tmp_path):
    with pytest.raises(TrainingError, match=r'split\.fold = "all" trains a run for each fold'):
        train(several.experiment(), tmp_path / "run")


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_averages_and_early_stopping_count_as_trained(several, tmp_path, average):
    sets = (
        f"train.average={average}",
        "train.epochs=3",
        "train.patience=1",
        "split.fold=[0, 2]",
        "split.subset=annotated",
    )
    run = train_folds(several.experiment(*sets), tmp_path / "run")
    assert folds_of(run) == (0, 2)
    assert not (run.path / "fold1").exists()
    for folder in ("fold0", "fold2"):
        assert is_trained(RunDir(run.path / folder), several.experiment(*sets))
    assert not is_trained(RunDir(run.path / "fold1"), several.experiment(*sets))
    assert not is_trained(RunDir(run.path / "fold0"), several.experiment(*sets, "train.epochs=9", "train.patience=0"))
    recipe, line = refit_recipe(several.recipe(*sets), run)
    best = [RunDir(run.path / name).weights()["epoch"] for name in ("fold0", "fold2")]
    assert recipe.train.epochs == (3 if average == "swa" else max(best)), line
    assert (recipe.split.folds, recipe.train.patience) == (1, 0)


def test_the_refit_trains_on_everything_for_the_median_of_the_best_epochs(folds_run):
    refit = RunDir(folds_run.run.path / "refit")
    best = sorted(RunDir(folds_run.run.path / f"fold{fold}").weights()["epoch"] for fold in range(3))
    assert len(refit.metrics()) == best[1]
    assert set(refit.split()["part"]) == {"train+validation", "unlabelled"}


# --- scores ---------------------------------------------------------------------------------------------------------


def pooled_dice(run, experiment):
    """The mean Dice of every slice and class with pixels, made of the kept bytes alone."""
    table, values = experiment.dataset.table, []
    for (_, scan), stored in kept(run).items():
        rows = table.index[(table["scan"] == scan) & table["labelled"]]
        for row, planes in zip(rows, stored, strict=True):
            native = Stretch((24, 20), (32, 32)).invert(planes.transpose(1, 2, 0).astype(np.float32) / np.float32(255))
            truth = experiment.dataset.mask(row) == 1
            both = ((native >= 0.5) & truth).sum((0, 1))
            sizes = (native >= 0.5).sum((0, 1)) + truth.sum((0, 1))
            values += (2 * both[sizes > 0] / sizes[sizes > 0]).tolist()
    return sum(values) / len(values)


def test_the_pooled_score_is_that_of_the_kept_probabilities_sum_then_divide(several, folds_run):
    content = scores(folds_run.run)
    wanted = pooled_dice(folds_run.run, several.experiment())
    assert content["scores"]["dice"] == pytest.approx(wanted, abs=1e-9)
    told = [content[key] for key in ("part", "slices", "expected", "trained_on")]
    assert told == ["out-of-fold", 12, 12, 0]
    assert [one["weights"] for one in content["networks"]] == [
        RunDir(folds_run.run.path / f"fold{fold}").weights()["digest"] for fold in range(3)
    ]
    folds = [scores(RunDir(folds_run.run.path / f"fold{fold}"))["scores"]["dice"] for fold in range(3)]
    assert min(folds) < wanted < max(folds)


def test_predicted_anew_the_score_is_the_same(several, folds_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folds_run.run.path, copy)
    before = scores(folds_run.run)["scores"]
    shutil.rmtree(copy / "fold0" / "oof")
    damaged = copy / "fold1" / "oof" / "probabilities.npz"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    stale = copy / "fold2" / "oof" / "files.json"
    stale.write_text(stale.read_text().replace('"weights": "', '"weights": "x'))
    again = evaluate(*several.open(copy))
    assert dict(again.scores["scores"]) == before and again.own
    assert any("is damaged: it is not what" in line for line in several.lines)
    assert any("is of other weights" in line for line in several.lines)
    assert all((values == kept(RunDir(copy))[key]).all() for key, values in kept(folds_run.run).items())
    evaluate(*several.open(copy))
    assert not any("anew" in line for line in several.lines)


def test_other_thresholds_use_what_is_kept_and_other_views_do_not(several, folds_run, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(folds_run.run.path, copy)
    files = {file: file.read_bytes() for file in copy.glob("fold*/oof/*")}
    flipped = evaluate(*several.open(copy, 'predict.tta=["hflip"]')).scores
    assert {file: file.read_bytes() for file in copy.glob("fold*/oof/*")} == files
    from gisegkit.engine.predictor import NetworkPredictor

    monkeypatch.delattr(NetworkPredictor, "_pieces")  # nothing can be predicted any more
    lower = evaluate(*several.open(copy, "evaluate.threshold=0.3"))
    assert not lower.own and lower.scores["changes"] == ["evaluate.threshold: 0.5 -> 0.3"]
    assert flipped["changes"] == ['predict.tta: [] -> ["hflip"]'] and flipped["scores"] != lower.scores["scores"]


def test_a_list_of_folds_scores_their_cases_only_and_says_so(several, folds_run, tmp_path):
    run = RunDir(tmp_path / "run")
    shutil.copytree(folds_run.run.path, run.path, ignore=shutil.ignore_patterns("fold1", "evaluation"))
    run.recipe.write_text(run.recipe.read_text().replace('fold = "all"', "fold = [0, 2]"))
    content = evaluate(*several.open(run.path)).scores
    assert (content["slices"], len(content["networks"])) == (8, 2)
    assert any("4 labelled slices of these data are not taken" in line for line in several.lines)
    whole, part = (pd.read_csv(one.path / "evaluation" / "by_slice.csv") for one in (folds_run.run, run))
    assert part.equals(whole[whole["id"].isin(part["id"])].reset_index(drop=True))


def test_compare_pairs_folds_and_plain_runs_by_case(several, folds_run, tmp_path):
    plain = run_recipe(several.experiment("split.fold=0", "seed=1", "train.epochs=1"), tmp_path / "plain").run
    table = compare([folds_run.run.path, plain.path], several.plugins.registries, resamples=999)
    by_name = {row.run.label: row for row in table.rows}
    assert by_name["run"].cases == 6 and by_name["plain"].cases == 2
    assert by_name["plain"].comparison.cases == 2
    assert by_name["run"].interval.low < by_name["run"].interval.estimate < by_name["run"].interval.high
    assert not any("not on its validation slices" in note for note in table.notes)
    assert any('split.fold: "all" -> 0' in note for note in table.notes)


def test_extra_and_test_datasets_meet_folds(several, tmp_path):
    """Extra slices train every fold and are scored in none; test slices are scored by the mean of all folds."""
    text = several.recipe().text()
    table = text[text.index("[dataset]") : text.index("[input]")]
    for letter, role in (("e", "extra"), ("x", "test")):
        other = table.replace("[dataset]", "[[dataset]]").replace('role = "train"', f'role = "{role}"')
        text += "\n" + other.replace('/t"', f'/{letter}"').replace('unlabelled = "more"', "")
    (tmp_path / "roles.toml").write_text(text.replace("[dataset]", "[[dataset]]", 1))
    from gisegkit.recipe.load import load_recipe

    recipe = load_recipe(tmp_path / "roles.toml", registries=several.plugins.registries)
    recipe = replace(recipe, train=replace(recipe.train, epochs=1))
    done = run_folds(several.session().experiment(recipe), tmp_path / "run")
    parts = done.run.split().groupby("part")["id"].count().to_dict()
    assert parts == {"fold0": 4, "fold1": 4, "fold2": 4, "extra": 4, "test": 4, "unlabelled": 2}
    assert (RunDir(done.run.path / "fold0").split()["part"] == "extra").sum() == 4
    assert (done.evaluated.scores["slices"], done.evaluated.test["slices"]) == (12, 4)
    assert done.evaluated.test["part"] == "test" and len(done.evaluated.test["networks"]) == 3


# --- prediction -----------------------------------------------------------------------------------------------------


def test_the_prediction_is_the_mean_of_the_folds(several, folds_run):
    run, whole = several.open(folds_run.run.path, command="predict")
    whole.take_over(run)
    rows = whole.unlabelled
    means = values(whole, rows)
    alone = []
    for fold in range(3):
        network, one = several.open(folds_run.run.path / f"fold{fold}", command="predict")
        one.take_over(network)
        alone.append(values(one, rows))
    assert len(means) == 2
    for found, parts in zip(means, zip(*alone, strict=True), strict=True):
        assert np.allclose(found, np.mean(parts, axis=0), atol=1e-6)


def test_every_part_is_told_what_it_is(several, folds_run, tmp_path):
    run = several.open(folds_run.run.path, command="predict")[0]
    for part, name, count in (("unlabelled", "unlabelled", 2), ("validation", "out-of-fold", 12), ("all", "all", 14)):
        found = predict(*several.open(run.path, command="predict"), part=part, out=tmp_path / f"{part}.csv")
        assert (found.part, found.slices) == (name, count)
        assert any("12 of these 14 slices were trained on" in line for line in several.lines) == (part == "all")
    header = (tmp_path / "unlabelled.recipe.toml").read_text()
    assert "predicted by the run run, weights of 3 networks" in header


def test_an_ordinary_command_takes_each_fold(several, folds_run, tmp_path):
    fold = folds_run.run.path / "fold2"
    found = evaluate(*several.open(fold), out=tmp_path / "out")
    assert found.scores["slices"] == 4
    with pytest.raises(RunError, match=r"several networks, and one is needed here; name one of them: .*fold0"):
        folds_run.run.weights()


def test_a_missing_fold_is_named(several, folds_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folds_run.run.path, copy)
    shutil.rmtree(copy / "fold1")
    with pytest.raises(RunError, match=r"lacks the runs of folds .*fold1; train them with .*--resume"):
        members_of(RunDir(copy))
