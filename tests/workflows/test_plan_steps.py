"""The commands of a plan."""

from __future__ import annotations

import pytest

from gisegkit.workflows.plan import open_plan


@pytest.fixture
def steps(several, tmp_path):
    """Gives the command lines of a plan, without those of its runs."""

    def found(text, demo=False):
        (tmp_path / "r.toml").write_text(several.recipe().text())
        runs = '[[run]]\nname = "a"\nrecipe = "r.toml"\nseeds = [0, 1]\n[[run]]\nname = "b"\nrecipe = "r.toml"\n'
        (tmp_path / "p.toml").write_text(f"{runs}{text}")
        work = open_plan(tmp_path / "p.toml", several.plugins.registries, out=tmp_path / "o", demo=demo)
        return [" ".join(step.words).replace(f"{tmp_path}/", "") for step in work.steps if not step.run or demo]

    return found


def test_weights_gate_and_tuning_are_written_out(steps):
    text = (
        '[ensemble]\nruns = ["a"]\nweights = [3]\n[gate]\nrun = "b"\npixels = {a = 3, b = 0}\n'
        '[tune]\nmetric = "dice"\nonly = ["threshold", "presence"]\napply = "never"\n[predict]\npart = "all"\n'
    )
    assert steps(text) == [
        "ensemble o/a-seed0 o/a-seed1 --out o/ensemble --weights 1.5,1.5 --gate o/b --gate-pixels a=3,b=0",
        "evaluate o/ensemble",
        "tune o/ensemble --metric dice --only threshold --only presence --dry-run",
        "predict o/ensemble --set predict.part=all --out o/submission.csv",
    ]


def test_a_greedy_ensemble_has_no_weights(steps):
    found = steps("[ensemble]\ngreedy = true\nrounds = 4\n[tune]\napply = 'always'\n")
    assert found[0] == "ensemble o/a-seed0 o/a-seed1 o/b --out o/ensemble --greedy --rounds 4"
    assert found[2] == "tune o/ensemble --apply"
    assert steps("") == []


def test_runs_of_a_demo_are_demos(steps):
    first = steps('[demo]\n"train.epochs" = 1\n', demo=True)[0]
    assert first == "run r.toml --set seed=0 --set train.epochs=1 --demo --out o/a-seed0 --resume"
