"""``giseg show RUN``: what predicts, how it decides, and where the pictures are."""

from __future__ import annotations

import click
import pytest

from gisegkit.cli import cli
from gisegkit.errors import RunError
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


def test_what_is_no_run_and_options_without_effect(folds_run, tmp_path, several):
    with pytest.raises(RunError, match="is not a run folder"):
        described(tmp_path, several.plugins.registries)
    with pytest.raises(click.UsageError, match="no effect"):
        cli.main(args=["show", str(folds_run.run.path), "--epoch", "2"], standalone_mode=False)
