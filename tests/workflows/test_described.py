"""``giseg show RUN``: what predicts, how it decides, and where the pictures are."""

from __future__ import annotations

import json
import shutil

import click
import pytest

from gisegkit.cli import cli
from gisegkit.errors import RunError
from gisegkit.workflows.compare import compare
from gisegkit.workflows.described import described
from gisegkit.workflows.ensemble import make_ensemble
from gisegkit.workflows.evaluate import evaluate

pytestmark = pytest.mark.slow  # whole trainings


def test_a_run_of_folds_and_its_scores(several, folds_run):
    run = folds_run.run
    lines = described(run.path, several.plugins.registries)
    assert lines[0] == f"{run.path}: run of several, 3 folds, r2unet"
    assert [line.split(":")[0].strip() for line in lines[1:4]] == ["fold0", "fold1", "fold2"]
    best = next(entry["epoch"] for entry in reversed(fold_of(run, 0).metrics()) if entry["best"])
    assert lines[1] == f"  fold0: 3 epochs, best {best}"
    score = folds_run.evaluated.scores["scores"]["dice"]
    assert f"scores (out-of-fold, 12 slices): dice {score:.4f}" in lines
    assert f"picture: {run.preview}" in lines and f"submission: {run.submission}" in lines


def fold_of(run, fold):
    return type(run)(run.path / f"fold{fold}")


def test_an_ensemble_its_members_decision_and_gate(several, folds_run, tmp_path, capsys):
    path, gate = folds_run.run.path, folds_run.run.path / "refit"
    out = make_ensemble(
        several.session(), [path], tmp_path / "e", weights=[3], gate=gate, gate_pixels={"a": 5, "b": 0}
    ).run
    lines = described(out.path, several.plugins.registries)
    assert lines[0] == f"{out.path}: ensemble of 1 run, weighted mean of their probabilities"
    score = folds_run.evaluated.scores["scores"]["dice"]
    assert lines[1].startswith("  1.000  ") and lines[1].endswith(f", 3 networks: dice {score:.4f} (out-of-fold)")
    assert "threshold: 0.5" in lines
    (gated,) = [line for line in lines if line.startswith("gate: ")]
    assert "refit, 1 network; a class stays where it sees more pixels than: a 5, b 0" in gated
    assert lines[-1] == f"scores: none yet; giseg evaluate {out.path}"
    plain = make_ensemble(several.session(), [path], tmp_path / "f").run
    evaluate(*several.open(plain.path))
    cli.main(args=["show", str(plain.path)], standalone_mode=False)
    text = capsys.readouterr().out
    assert "scores (out-of-fold, 12 slices): dice" in text and f"picture: {plain.preview}" in text
    assert "gate" not in text


def test_scores_that_are_older_than_the_decision_are_told_as_such(several, folds_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(folds_run.run.path, path)
    assert not any(line.startswith("note:") for line in described(path, several.plugins.registries))
    content = json.loads((path / "decision.json").read_text())
    (path / "decision.json").write_text(json.dumps({**content, "threshold": {"a": 0.3, "b": 0.5}}))
    lines = described(path, several.plugins.registries)
    place = next(number for number, line in enumerate(lines) if line.startswith("scores"))
    assert lines[place + 1].startswith("note: the run was scored before its decision.json became another")
    assert "(evaluate.threshold); giseg evaluate" in lines[place + 1]
    (note,) = [line for line in compare([path], several.plugins.registries).notes if "decision.json" in line]
    assert note.startswith("run was scored before") and f"giseg evaluate {path} scores the new one" in note
    evaluated = evaluate(*several.open(path))
    assert not evaluated.own
    notes = compare([evaluated.files.folder], several.plugins.registries).notes
    assert not any("decision.json" in line for line in notes)


def test_what_is_no_run_and_options_without_effect(folds_run, tmp_path, several):
    with pytest.raises(RunError, match="is not a run folder"):
        described(tmp_path, several.plugins.registries)
    with pytest.raises(click.UsageError, match="no effect"):
        cli.main(args=["show", str(folds_run.run.path), "--epoch", "2"], standalone_mode=False)
