"""The gate of an ensemble: what it sees by itself decides which classes stay, wherever the ensemble is used."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from gisegkit.cli import cli, main
from gisegkit.errors import DataError, RunError
from gisegkit.types import silent
from gisegkit.workflows.compare import compare
from gisegkit.workflows.ensemble import make_ensemble
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.folds import train_folds
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import train
from gisegkit.workflows.tune import tune

pytestmark = pytest.mark.slow  # whole trainings

PROBABILITIES = 'writer=[{name="probabilities"}]'


@pytest.fixture(scope="module")
def gates(several, tmp_path_factory):
    """Runs to be gates: folds; a softmax with a view and classes in another order; stacks with more classes."""
    folder = tmp_path_factory.mktemp("gates")
    train_folds(several.experiment("seed=7", "train.epochs=2"), folder / "folds")
    train(
        several.experiment("split.fold=0", "seed=8", 'predict.tta=["hflip"]', "loss.0.name=ce", labels="b = 2, a = 1"),
        folder / "turned",
    )
    train(several.experiment("split.fold=0", "seed=9", "train.epochs=1", labels="c = 3, b = 2, a = 1"), folder / "more")
    return folder


def make(several, paths, out, **more):
    return make_ensemble(several.session(), paths, out, **more).run


def pixels(several, path, rows):
    """Pixels of a and b that a run sees in the rows, deciding by itself."""
    run, one = several.open(path)
    one.take_over(run)
    order = [one.classes.index(name) for name in ("a", "b")]
    found = one.slices(rows, label="", progress=silent)
    return {item.row: item.prediction.sum((0, 1))[order] for item in found}


def middle(numbers):
    """A limit that some slices are above and others are not, for each class."""
    return {name: int(np.median([value[k] for value in numbers.values()])) for k, name in enumerate("ab")}


def values(whole, rows):
    scans = whole.probabilities(rows, label="", progress=silent)
    return {item.row: item.values for scan in scans for item in scan}


@pytest.mark.parametrize("gate", ["folds", "turned", "more"])
def test_probabilities_are_zero_where_the_gate_does_not_see_the_class(several, folds_run, gates, tmp_path, gate):
    plain = make(several, [folds_run.run.path], tmp_path / "plain")
    run, whole = several.open(plain.path)
    whole.take_over(run)
    rows = np.flatnonzero(whole.dataset.table["labelled"]) if gate == "folds" else whole.unlabelled
    seen, before = pixels(several, gates / gate, rows), values(whole, rows)
    limits = middle(seen)
    gated = make(several, [folds_run.run.path], tmp_path / "e", gate=gates / gate, gate_pixels=limits)
    run, whole = several.open(gated.path)
    whole.take_over(run)
    found, emptied = values(whole, rows), 0
    for row, after in found.items():
        for k, name in enumerate("ab"):
            keeps = seen[row][k] > limits[name]
            emptied += not keeps
            assert np.array_equal(after[..., k], before[row][..., k] if keeps else np.zeros(after.shape[:2]))
    assert emptied
    counted = [sum(seen[row][k] > limits[name] for row in found) for k, name in enumerate("ab")]
    assert any(f"sees a in {counted[0]}, b in {counted[1]} of {len(found)} slices" in line for line in several.lines)


def test_folds_as_a_gate_see_each_case_with_the_network_that_has_not(several, folds_run, gates, tmp_path):
    """The networks of all folds would see a case of fold 0 otherwise than the first fold's."""
    run = make(several, [folds_run.run.path], tmp_path / "e", gate=gates / "folds")
    scored = evaluate(*several.open(run.path)).scores
    assert (scored["slices"], scored["part"], scored["trained_on"]) == (12, "out-of-fold", 0)
    assert scored["gate"]["pixels"] == {"a": 0, "b": 0} and len(scored["gate"]["networks"]) == 3
    split = folds_run.run.split().set_index("id")["part"]
    _, whole = several.open(run.path)
    ids = whole.dataset.table["id"]
    for fold in range(3):
        rows = np.array([row for row in range(len(ids)) if split[ids[row]] == f"fold{fold}"])
        together, alone = (pixels(several, path, rows) for path in (gates / "folds", gates / "folds" / f"fold{fold}"))
        for row in rows:  # kept probabilities have 8 bits
            assert np.abs(together[row] - alone[row]).max() <= 8


def test_a_plain_gate_leaves_only_what_it_has_not_seen(several, folds_run, gates, tmp_path):
    run = make(several, [folds_run.run.path], tmp_path / "e", gate=gates / "turned")
    assert evaluate(*several.open(run.path)).scores["slices"] == 4
    assert any("8 labelled slices" in line and "a member or the gate" in line for line in several.lines)
    fold = make(several, [folds_run.run.path / "fold1"], tmp_path / "f", gate=gates / "turned")
    with pytest.raises(RunError, match="trained every network of a member or the gate"):
        evaluate(*several.open(fold.path))
    assert predict(*several.open(fold.path, command="predict")).slices == 2


def test_scores_submission_and_probabilities_are_gated(several, folds_run, gates, tmp_path):
    """No slice has so many pixels: nothing is left anywhere."""
    run = make(several, [folds_run.run.path], tmp_path / "e", gate=gates / "folds", gate_pixels=24 * 20)
    scored = evaluate(*several.open(run.path))
    table = pd.read_csv(run.evaluation / "by_slice.csv")
    assert set(table["dice"][table["true_pixels"] > 0]) == {0}
    assert scored.scores["weights"] != folds_run.evaluated.scores["weights"]
    made = predict(*several.open(run.path, PROBABILITIES, command="predict"))
    files = list(made.folder.glob("**/*.npz"))
    arrays = [held[name] for held in map(np.load, files) for name in held.files if held[name].ndim == 4]
    assert arrays and not any(array.any() for array in arrays)
    ungated = make(several, [folds_run.run.path], tmp_path / "u")
    evaluate(*several.open(ungated.path))
    compared = compare([run.path, ungated.path], several.plugins.registries, resamples=999)
    assert any("e has the gate" in note and "u has no gate" in note for note in compared.notes)


def test_slices_that_are_left_out_meet_a_gate(several, folds_run, gates, tmp_path):
    """With on_bad = "skip" the gate and the members lose the same slice, and the others stay as they are."""
    limits = middle(pixels(several, gates / "turned", several.open(folds_run.run.path)[1].unlabelled))
    run = make(several, [folds_run.run.path], tmp_path / "e", gate=gates / "turned", gate_pixels=limits)
    whole = pd.read_csv(
        predict(*several.open(run.path, command="predict"), out=tmp_path / "w.csv").file, index_col="id"
    )
    shutil.copytree(several.folder / "t", tmp_path / "t")
    (bad,) = (tmp_path / "t" / "more").glob("*_0.png")
    bad.write_bytes(bad.read_bytes()[:40])
    root = f"dataset.root={tmp_path / 't'}"
    with pytest.raises(DataError, match=bad.name):
        predict(*several.open(run.path, root, command="predict"), out=tmp_path / "s.csv")
    opened = several.open(run.path, root, "dataset.on_bad=skip", command="predict")
    left = pd.read_csv(predict(*opened, out=tmp_path / "l.csv").file, index_col="id")
    assert left.equals(whole.drop(bad.stem))
    assert any(line.startswith("left out: 1 slice") for line in several.lines)


def test_the_greedy_choice_and_tuning_search_with_the_gate(several, folds_run, gates, tmp_path):
    run = folds_run.run.path
    made = make_ensemble(
        several.session(), [run, gates / "folds"], tmp_path / "e", greedy=True, rounds=2, gate=run, gate_pixels=10
    )
    again = evaluate(*several.open(made.run.path)).scores["scores"]["dice"]
    assert again == pytest.approx(made.choice.score, abs=1e-12)
    result = tune(*several.open(made.run.path), only=("threshold",), apply=True, resamples=99)
    assert result.before == pytest.approx(again, abs=1e-9)
    tuned = evaluate(*several.open(made.run.path)).scores["scores"]["dice"]
    assert tuned == pytest.approx(result.before + result.found.optimistic, abs=1e-9)


def test_an_ensemble_may_be_a_gate_and_decides_by_itself(several, folds_run, gates, tmp_path):
    both = make(several, [folds_run.run.path, gates / "folds"], tmp_path / "both")
    run = make(several, [folds_run.run.path], tmp_path / "e", gate=both.path, gate_pixels=3)
    first = evaluate(*several.open(run.path)).scores
    assert len(first["gate"]["networks"]) == 6
    content = json.loads(both.decision.read_text())
    both.decision.write_text(json.dumps({**content, "threshold": {"a": 1.0, "b": 1.0}}))
    folder, whole = several.open(run.path)
    whole.take_over(folder)
    assert any("decides otherwise than when the ensemble was made" in line for line in several.lines)
    rows = whole.unlabelled
    assert not any(found.any() for found in values(whole, rows).values())
    with pytest.raises(RunError, match="has a gate itself and cannot be one"):
        make(several, [folds_run.run.path], tmp_path / "f", gate=run.path)


def test_what_cannot_be_a_gate_is_refused(several, folds_run, gates, tmp_path):
    run, out = folds_run.run.path, tmp_path / "e"
    with pytest.raises(RunError, match="does not know c; a gate must see every class"):
        make(several, [gates / "more"], out, gate=run)
    with pytest.raises(DataError, match=r"--gate-pixels = \{c = 3\}: the data have no class 'c'"):
        make(several, [run], out, gate=gates / "folds", gate_pixels={"c": 3})
    with pytest.raises(DataError, match="has no value for 'b'"):
        make(several, [run], out, gate=gates / "folds", gate_pixels={"a": 3})
    with pytest.raises(RunError, match="is not a run folder"):
        make(several, [run], out, gate=tmp_path / "none")
    assert not out.exists()
    made = make(several, [run], out, gate=gates / "folds")
    with pytest.raises(DataError, match="a threshold of 0 gives every pixel to the class"):
        evaluate(*several.open(made.path, "evaluate.threshold=0"))


def test_a_gate_that_was_moved_or_exchanged_is_named(several, folds_run, gates, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(gates / "folds", copy)
    run = make(several, [folds_run.run.path], tmp_path / "e", gate=copy)
    assert json.loads((run.path / "ensemble.json").read_text())["gate"]["run"] == "../copy"
    shutil.copy(copy / "fold1" / "best.pt", copy / "fold0" / "best.pt")
    with pytest.raises(RunError, match=r"fold0/best\.pt is not what the ensemble"):
        predict(*several.open(run.path, command="predict"))
    copy.rename(tmp_path / "moved")
    with pytest.raises(RunError, match=r"its gate \.\./copy is not there"):
        several.open(run.path)


def test_the_command_takes_a_gate(several, folds_run, gates, tmp_path, capsys):
    command = ["ensemble", str(folds_run.run.path), "--out", str(tmp_path / "e")]
    for text in ("a=3,b=-1", "three", "a=3,a", "-2"):
        with pytest.raises(SystemExit):
            main([*command, "--gate", str(gates / "folds"), f"--gate-pixels={text}"])
        assert "give a whole number such as 12" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--gate-pixels", "3"])
    assert "no effect without --gate" in capsys.readouterr().err
    cli.main([*command, "--gate", str(gates / "folds"), "--gate-pixels", "a=3, b=5"], standalone_mode=False)
    assert f"gate: {gates / 'folds'}" in capsys.readouterr().out
    content = json.loads((tmp_path / "e" / "ensemble.json").read_text())["gate"]
    assert content["pixels"] == {"a": 3, "b": 5} and len(content["digests"]) == 3
