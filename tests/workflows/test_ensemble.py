"""giseg ensemble: runs that differ in everything but the data are one thing to evaluate, compare and predict with."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from gisegkit.cli import cli
from gisegkit.errors import RecipeError, RunError
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.runs.folder import RunDir
from gisegkit.types import silent
from gisegkit.workflows.compare import compare
from gisegkit.workflows.ensemble import make_ensemble
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.folds import train_folds
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import epochs, train

pytestmark = pytest.mark.slow  # whole trainings


@pytest.fixture(scope="module")
def others(several, tmp_path_factory):
    """Runs that differ from ``folds_run``: stacks at another size, classes in another order, crops, a softmax."""
    folder = tmp_path_factory.mktemp("others")
    stacks = (
        "train.epochs=2",
        "input.size=[48, 40]",
        "input.slices=3",
        "input.resize=fit",
        "seed=3",
        'predict.tta=["hflip"]',
    )
    train_folds(several.experiment(*stacks), folder / "stacks")
    train(several.experiment("split.fold=0", "seed=4", labels="b = 2, a = 1"), folder / "turned")
    train(several.experiment("split.fold=1", "seed=5", "input.mode=crop", "input.size=[16, 16]"), folder / "crops")
    train(several.experiment("split.fold=0", "seed=6", "loss.0.name=ce"), folder / "softmax")
    return folder


def values(experiment, rows):
    scans = experiment.probabilities(rows, label="", progress=silent)
    return {item.row: item.values for scan in scans for item in scan}


def alone(several, path, rows):
    """What a run predicts by itself, its classes in its own order."""
    run, one = several.open(path)
    one.take_over(run)
    return values(one, rows)


def make(several, paths, out, **more):
    return make_ensemble(several.session(), paths, out, **more).run


def test_members_of_other_inputs_and_orders_of_classes_are_mixed_by_weight(several, folds_run, others, tmp_path):
    paths = [folds_run.run.path, others / "stacks", others / "turned", others / "crops"]
    run = make(several, paths, tmp_path / "e", weights=[4, 3, 2, 1])
    run, whole = several.open(run.path, command="predict")
    whole.take_over(run)
    rows = whole.unlabelled
    found, parts = values(whole, rows), [alone(several, path, rows) for path in paths]
    assert len(found) == 2
    assert several.open(others / "turned")[1].classes == ("b", "a") != whole.classes
    for row, mixed in found.items():
        plain = 0.4 * parts[0][row] + 0.3 * parts[1][row] + 0.1 * parts[3][row]
        assert np.allclose(mixed, plain + 0.2 * parts[2][row][..., ::-1], atol=1e-5)


def test_every_case_is_scored_by_the_folds_that_have_not_seen_it(several, folds_run, others, tmp_path):
    run = make(several, [folds_run.run.path, others / "stacks"], tmp_path / "e")
    scored = evaluate(*several.open(run.path)).scores
    assert (scored["slices"], scored["part"], len(scored["networks"])) == (12, "out-of-fold", 6)
    _, whole = several.open(run.path)
    whole.take_over(run)
    split = folds_run.run.split().set_index("id")["part"]
    ids = whole.dataset.table["id"]
    rows = [row for row in range(len(ids)) if split[ids[row]] != "unlabelled"]
    found = values(whole, np.array(rows))
    for fold in range(3):
        own = np.array([row for row in rows if split[ids[row]] == f"fold{fold}"])
        parts = [alone(several, path / f"fold{fold}", own) for path in (folds_run.run.path, others / "stacks")]
        for row in own:  # half a step of the bytes, and the rounding of float32
            assert np.abs(found[row] - (parts[0][row] + parts[1][row]) / 2).max() <= 0.5 / 255 + 1e-5
    assert whole.folds_of(np.array(rows)).tolist() == [int(split[ids[row]][-1]) for row in rows]


def test_a_plain_member_leaves_only_what_it_has_not_seen(several, folds_run, others, tmp_path):
    run = make(several, [folds_run.run.path, others / "turned"], tmp_path / "e")
    scored = evaluate(*several.open(run.path)).scores
    held = RunDir(others / "turned").split().query("part == 'validation'")["id"].tolist()
    assert (scored["slices"], scored["trained_on"]) == (4, 0)
    found = (run.evaluation / "by_slice.csv").read_text()
    assert all(name in found for name in held)
    assert any("8 labelled slices of these data are not taken" in line for line in several.lines)


def test_members_without_a_common_unseen_slice_cannot_be_scored_but_predict(several, folds_run, others, tmp_path):
    run = make(several, [others / "turned", others / "crops", folds_run.run.path / "refit"], tmp_path / "e")
    with pytest.raises(RunError, match="12 of the 12 labelled slices of these data trained every network of a member"):
        evaluate(*several.open(run.path))
    assert predict(*several.open(run.path, command="predict")).slices == 2
    with pytest.raises(RunError, match="trained every network"):
        make(several, [others / "turned", others / "crops"], tmp_path / "g", greedy=True)
    assert not (tmp_path / "g").exists()


def test_new_labelled_data_are_scored_by_all_networks(several, folds_run, tmp_path):
    run = make(several, [folds_run.run.path], tmp_path / "e")
    root = f"dataset.root={(several.folder / 'x').as_posix()}"
    for path in (run.path, folds_run.run.path):
        scored = evaluate(*several.open(path, root, 'dataset.unlabelled=""'), out=tmp_path / path.name / "out").scores
        assert (scored["slices"], scored["part"], scored["trained_on"]) == (4, "all labelled", 0)


def test_an_ensemble_of_one_run_of_folds_is_that_run(several, folds_run, tmp_path):
    run = make(several, [folds_run.run.path], tmp_path / "e")
    scored = evaluate(*several.open(run.path))
    assert scored.own and scored.scores["scores"] == folds_run.evaluated.scores["scores"]
    predict(*several.open(run.path, command="predict"))
    assert (run.path / "predictions" / "submission.csv").read_bytes() == folds_run.run.submission.read_bytes()
    table = compare([run.path / "ensemble.json", folds_run.run.path], several.plugins.registries, resamples=999)
    assert [row.run.label for row in table.rows] == ["e", "run"]
    assert table.rows[1].comparison.difference.estimate == 0


def test_a_softmax_is_mixed_class_by_class_and_told(several, folds_run, others, tmp_path):
    """A softmax's probabilities are those of each class beside a background; a sigmoid's are of each class, too."""
    paths = [folds_run.run.path / "fold0", others / "softmax"]
    run = make(several, paths, tmp_path / "e")
    assert any("softmax: classes that exclude one another" in line for line in several.lines)
    assert not StoredDecision.read(run.decision).exclusive
    run, whole = several.open(run.path)
    whole.take_over(run)
    assert not whole.exclusive
    rows = whole.unlabelled
    found, parts = values(whole, rows), [alone(several, path, rows) for path in paths]
    assert all(np.allclose(found[row], (parts[0][row] + parts[1][row]) / 2, atol=1e-6) for row in rows)
    assert all((parts[1][row].sum(-1) <= 1 + 1e-5).all() for row in rows)
    only = make(several, [others / "softmax"], tmp_path / "only")
    assert StoredDecision.read(only.decision).exclusive and several.open(only.path)[1].exclusive


def test_the_greedy_choice_is_at_least_as_good_as_the_best_member(several, folds_run, others, tmp_path):
    session = several.session()
    made = make_ensemble(session, [folds_run.run.path, others / "stacks"], tmp_path / "e", greedy=True, rounds=3)
    assert made.choice is not None and made.choice.score >= max(made.choice.alone)
    assert sum(member.weight for member in made.members) == pytest.approx(1)
    assert len(made.members) == sum(number > 0 for number in made.choice.counts)
    again = evaluate(*several.open(made.run.path)).scores["scores"]["dice"]
    assert again == pytest.approx(made.choice.score, abs=1e-12)
    assert made.choice.alone[0] == folds_run.evaluated.scores["scores"]["dice"]


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_member_that_was_moved_or_trained_on_is_named(several, folds_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folds_run.run.path, copy)
    run = make(several, [copy], tmp_path / "e")
    shutil.copy(copy / "fold1" / "best.pt", copy / "fold0" / "best.pt")
    for command in (evaluate, predict):
        with pytest.raises(RunError, match=r"fold0/best\.pt is not what the ensemble .*e was made of: its digest"):
            command(*several.open(run.path))
    copy.rename(tmp_path / "moved")
    with pytest.raises(RunError, match=r"its member \.\./copy is not there"):
        several.open(run.path)


def test_what_cannot_be_one_ensemble_is_refused(several, folds_run, others, tmp_path):
    run, out = folds_run.run.path, tmp_path / "e"
    refused = [
        ([run, run], {}, "is named twice"),
        ([run, run / "fold0"], {}, "is a part of another run"),
        ([run, others / "stacks"], {"weights": [1]}, "--weights 1: give 2 numbers above 0"),
        ([run, others / "stacks"], {"weights": [1, -1]}, "--weights 1, -1: give 2 numbers above 0"),
        ([tmp_path / "none"], {}, "is not a run folder"),
    ]
    for paths, more, words in refused:
        with pytest.raises(RunError, match=words):
            make(several, paths, out, **more)
    assert not out.exists()
    ensemble = make(several, [run], out).path
    with pytest.raises(RunError, match="is an ensemble itself"):
        make(several, [run, ensemble], tmp_path / "f")
    with pytest.raises(RunError, match="exists already"):
        make(several, [run], out)


def test_a_run_that_is_not_finished_is_refused_by_its_name(several, folds_run, tmp_path):
    """As after a kill: its best weights are there, and would be others once it is resumed."""
    for report in epochs(several.experiment("split.fold=0"), tmp_path / "killed"):
        if report.epoch == 2:
            break
    paths = [folds_run.run.path, tmp_path / "killed"]
    with pytest.raises(RunError, match=r"killed has trained 2 of 3 epochs: finish it with --resume"):
        make(several, paths, tmp_path / "e")
    assert not (tmp_path / "e").exists()
    train(several.experiment("split.fold=0"), tmp_path / "killed", resume=True)
    assert make(several, paths, tmp_path / "e").path.is_dir()
    stopped = ("split.fold=1", "train.epochs=9", "train.patience=1", "optimizer.lr=1e-9")
    run = train(several.experiment(*stopped), tmp_path / "stopped")
    assert len(run.metrics()) < 9  # by itself, so it is finished
    assert make(several, [run.path], tmp_path / "f").path.is_dir()


def test_other_classes_are_refused(several, folds_run, tmp_path):
    train(several.experiment("split.fold=0", "train.epochs=1", labels="a = 1, c = 2"), tmp_path / "c")
    with pytest.raises(RunError, match=r"predicts the classes a, c, .* predicts a, b; all members need the same ones"):
        make(several, [folds_run.run.path, tmp_path / "c"], tmp_path / "e")


def test_settings_that_members_have_for_themselves_are_refused(several, folds_run, tmp_path):
    run = make(several, [folds_run.run.path], tmp_path / "e")
    with pytest.raises(RecipeError, match=r"predict\.tta has no effect on an ensemble: each of its runs keeps its own"):
        several.open(run.path, 'predict.tta=["hflip"]')
    lower = evaluate(*several.open(run.path, "evaluate.threshold=0.2")).scores
    assert lower["changes"] == ["evaluate.threshold: 0.5 -> 0.2"]


def test_another_decision_of_a_member_is_told_and_the_first_counts(several, folds_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folds_run.run.path, copy)
    content = json.loads((copy / "decision.json").read_text())
    (copy / "decision.json").write_text(json.dumps({**content, "threshold": {"a": 0.3, "b": 0.4}}))
    make(several, [folds_run.run.path, copy], tmp_path / "e")
    assert any("has another threshold than" in line for line in several.lines)
    run = make(several, [copy, folds_run.run.path], tmp_path / "f")
    assert StoredDecision.read(run.decision).threshold == {"a": 0.3, "b": 0.4}
    _, whole = several.open(run.path)
    assert whole.thresholds == (0.3, 0.4)
    evaluated = evaluate(*several.open(run.path))  # is the ensemble's own, which compare finds
    assert evaluated.own and evaluated.scores["changes"] == []
    (row,) = compare([run.path], several.plugins.registries).rows
    assert row.interval.estimate == pytest.approx(evaluated.scores["scores"]["dice"])


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_made(several, folds_run, tmp_path, capsys):
    out = tmp_path / "e"
    command = ["ensemble", str(folds_run.run.path), str(folds_run.run.path / "refit"), "--out", str(out)]
    with pytest.raises(RunError, match="is a part of another run"):
        cli.main(args=command, standalone_mode=False)
    command[2] = "--weights=2"
    cli.main(args=command, standalone_mode=False)
    text = capsys.readouterr().out
    assert "1.000" in text and f"ensemble of 1 run: {out}; next: giseg evaluate {out}" in text
