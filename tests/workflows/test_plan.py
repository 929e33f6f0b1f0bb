"""giseg plan: what is missing is run, what is finished is kept, what fails stops nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from gisegkit.cli import cli, main
from gisegkit.errors import GisegError, RecipeError, RunError
from gisegkit.runs.locks import is_locked
from gisegkit.runs.plan_record import read_record, write_record
from gisegkit.workflows.executor import Here
from gisegkit.workflows.plan import open_plan, run_plan, time_left

pytestmark = pytest.mark.slow  # whole trainings

PLAN = """
[[run]]
name = "gate"
recipe = "{recipe}"
set = {{"train.epochs" = 1}}
[[run]]
name = "net"
recipe = "{recipe}"
seeds = [0, 1]
{more}
[gate]
run = "gate"
pixels = 3
[tune]
only = ["threshold"]
apply = "always"
[predict]
"""


class Inside:
    """Executes commands in this process, and keeps them."""

    def __init__(self, before=None):
        self.commands, self.before = [], before

    def __call__(self, words, log):
        self.commands.append(words)
        if self.before is not None and (code := self.before(words, log)) is not None:
            return code
        result = CliRunner().invoke(cli, list(words))
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(result.output)
            if isinstance(result.exception, GisegError):
                file.write(f"error: {result.exception}\n")
        return result.exit_code

    @property
    def did(self):
        """The first word of each command, of runs the folder's name."""
        return [
            words[words.index("--out") + 1].rpartition("/")[2] if words[0] == "run" else words[0]
            for words in self.commands
        ]


@pytest.fixture
def toy(several, tmp_path):
    """Opens the plan of a recipe on the small set, one fold and two epochs, with other text in it."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(several.recipe("split.fold=0", "train.epochs=2").text())

    def opened(more="", text=PLAN, out="p"):
        (tmp_path / "plan.toml").write_text(text.format(recipe=recipe.name, more=more))
        return open_plan(tmp_path / "plan.toml", several.plugins.registries, out=tmp_path / out, device="cpu")

    return opened


def words_of(states):
    return {name: state.word for name, state in states.items()}


EVERY = ["gate", "net-seed0", "net-seed1", "ensemble", "evaluate", "tune", "predict"]


def test_a_plan_runs_once_and_what_follows_is_made_again_where_it_must_be(toy, tmp_path):
    work, inside, lines = toy(), Inside(), []
    assert words_of(work.states()) == {name: "missing" for name in EVERY[:3]} | {name: "waiting" for name in EVERY[3:]}
    assert time_left(work, work.states()) is None
    ran = run_plan(work, inside, say=lines.append)
    assert ran.complete and inside.did == EVERY, lines
    assert (work.folder / "submission.csv").is_file()
    assert json.loads((work.folder / "ensemble" / "ensemble.json").read_text())["gate"]["pixels"] == {"a": 3, "b": 3}
    assert not (work.folder / "DEMO.txt").exists()

    again = Inside()
    assert run_plan(toy(), again, say=lines.append).complete and not again.commands
    (work.folder / "plan.json").unlink()  # the runs are found without it; the ensemble is not known to be this plan's
    assert words_of(toy().states())["net-seed0"] == "done" and toy().states()["ensemble"].word == "changed"
    run_plan(work, again, say=lines.append)  # whoever still knows the record writes nothing that is not tried
    assert not again.commands


def test_a_decision_by_hand_makes_the_prediction_anew_and_a_new_gate_asks_for_a_new_ensemble(toy):
    work = toy()
    run_plan(work, Inside(), say=lambda line: None)
    file = work.folder / "ensemble" / "decision.json"
    file.write_text(file.read_text().replace('"a": ', '"a":  '))
    again = Inside()
    assert run_plan(toy(), again, say=lambda line: None).complete and again.did == ["predict"]
    other = toy(text=PLAN.replace("pixels = 3", "pixels = 4"))
    state = other.states()["ensemble"]
    assert state.word == "changed" and f"remove {work.folder / 'ensemble'}" in state.detail
    ran = run_plan(other, again, say=lambda line: None)
    assert not ran.complete and again.did == ["predict"]
    changed = toy('set = {"train.epochs" = 1}').states()
    assert [changed[name].word for name in EVERY[:3]] == ["done", "changed", "changed"]
    assert "train.epochs: 2 -> 1 (the plan changed since" in changed["net-seed1"].detail


def test_a_failed_run_is_told_in_a_line_and_stops_only_what_needs_it(toy, tmp_path):
    def broken(words, log):
        return 1 if "seed=0" in words and not log.parent.with_name("mended").exists() else None

    work, inside, lines = toy(), Inside(broken), []
    ran = run_plan(work, inside, say=lines.append)
    assert inside.did == EVERY[:3] and not ran.complete
    assert words_of(ran.states)["net-seed0"] == "failed" and words_of(ran.states)["ensemble"] == "waiting"
    assert ran.states["ensemble"].detail == "for net-seed0"
    assert any("net-seed0: failed" in line for line in lines)
    assert time_left(work, ran.states) == pytest.approx(ran.states["net-seed1"].seconds)
    (work.folder / "mended").touch()
    again = Inside(broken)
    assert run_plan(toy(), again, say=lines.append).complete
    assert again.did == ["net-seed0", *EVERY[3:]]


def test_a_mistake_of_the_data_is_the_cause(toy):
    work = toy('set = {"dataset.pattern" = "(?P<case>q)(?P<position>1)"}')
    ran = run_plan(work, Inside(), say=lambda line: None)
    assert ran.states["net-seed1"].word == "failed"
    assert "pattern" in ran.states["net-seed1"].detail and "\n" not in ran.states["net-seed1"].detail


def test_an_ensemble_that_was_killed_half_made_is_made_again(toy):
    def killed(words, log):
        if words[0] != "ensemble":
            return None
        CliRunner().invoke(cli, list(words))
        (work.folder / "ensemble" / "decision.json").unlink()
        return -9

    work = toy()
    ran = run_plan(work, Inside(killed), say=lambda line: None)
    assert (ran.states["ensemble"].word, ran.states["ensemble"].detail) == (
        "failed",
        "killed by signal 9 (maybe memory ran out)",
    )
    assert run_plan(toy(), Inside(), say=lambda line: None).complete
    assert (work.folder / "ensemble" / "decision.json").is_file()


def test_all_mistakes_of_a_plan_and_of_its_recipes_are_told_before_anything_runs(toy, tmp_path):
    with pytest.raises(RecipeError) as told:
        toy('sede = 1\nset = {"train.epohcs" = 3, "optimizer.lr" = "x"}')
    found = {(mistake.place.rpartition("/")[2], mistake.found) for mistake in told.value.mistakes}
    assert found == {("plan.toml:10", "unknown key 'sede' in [run]")}
    with pytest.raises(RecipeError) as told:
        toy('set = {"train.epohcs" = 3, "optimizer.lr" = "x"}')
    found = {(mistake.place.rpartition("/")[2], mistake.found) for mistake in told.value.mistakes}
    assert found == {
        ("plan.toml:10", "unknown key 'epohcs' in [train]"),
        ("plan.toml:10", 'optimizer.lr = "x"'),
    }
    assert any("did you mean 'epochs'?" in mistake.remedy for mistake in told.value.mistakes)
    with pytest.raises(RecipeError, match="no such recipe"):
        toy(text='[[run]]\nrecipe = "none.toml"\n')
    with pytest.raises(RecipeError, match="no such"):
        open_plan(tmp_path / "none.toml", toy().registries)
    assert not (tmp_path / "p").exists()


def test_two_processes_do_not_work_on_one_plan(toy, hold):
    work = toy()
    holder = hold(work.folder)
    with pytest.raises(RunError, match="in use by another giseg process"):
        run_plan(work, Inside(), say=lambda line: None)
    assert words_of(work.states())["gate"] == "missing"  # looking is free
    holder.kill()
    holder.wait()
    hold(work.folder / "gate")
    inside = Inside()
    assert run_plan(toy(), inside, say=lambda line: None).states["gate"].word == "running"
    assert inside.did == ["net-seed0", "net-seed1"]


def test_a_damaged_record_is_told_with_the_remedy(toy):
    work = toy()
    work.folder.mkdir()
    (work.folder / "plan.json").write_text('{"format": 1, "steps": {"gate": 3}}')
    with pytest.raises(RunError, match=r"is damaged .*: finished runs are found without it"):
        toy()
    write_record(work.folder, {})
    assert read_record(work.folder) == {}


ONE = '[[run]]\nname = "one"\nrecipe = "{recipe}"\nset = {{"train.epochs" = 25}}\n{more}\n[predict]\n'


def test_a_stopped_plan_stops_its_run_which_resumes_to_the_same_prediction(toy, tmp_path):
    whole = toy(text=ONE, out="whole")
    assert run_plan(whole, Inside(), say=lambda line: None).complete
    work = toy(text=ONE)
    command = [sys.executable, "-m", "gisegkit", "plan", str(tmp_path / "plan.toml"), "--out", str(work.folder)]
    process = subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = work.folder / "one" / "metrics.jsonl"
    while process.poll() is None and not lines.is_file():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, out
    assert "interrupted in one; what is finished is kept: run the same command again to continue" in out
    assert not is_locked(work.folder / "one")
    state = toy(text=ONE).states()["one"]
    assert state.word == "interrupted" and 0 < state.done < 1
    assert run_plan(toy(text=ONE), Inside(), say=lambda line: None).complete
    assert (work.folder / "submission.csv").read_bytes() == (whole.folder / "submission.csv").read_bytes()


def test_a_run_that_is_killed_is_told_and_resumes_where_it_was(toy):
    work = toy(text=ONE)

    def killed(words, log):
        process = subprocess.Popen([sys.executable, "-m", "gisegkit", *words], stdout=subprocess.DEVNULL)
        lines = work.folder / "one" / "metrics.jsonl"
        while process.poll() is None and not lines.is_file():
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        return process.wait()

    ran = run_plan(work, Inside(killed), say=lambda line: None)
    assert ran.states["one"].detail == "killed by signal 9 (maybe memory ran out)"
    assert words_of(ran.states)["predict"] == "waiting"
    assert run_plan(toy(text=ONE), Inside(), say=lambda line: None).complete


def test_the_command_lists_runs_and_ends_with_one_if_something_failed(toy, tmp_path, capsys, monkeypatch):
    toy()
    inside = Inside()
    monkeypatch.setattr(Here, "__call__", lambda self, words, log: inside(words, log))
    command = ["plan", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "p"), "--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--list"])
    assert ended.value.code == 0 and not inside.commands and not (tmp_path / "p").exists()
    assert "net-seed1  missing" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(command)
    text = capsys.readouterr().out
    assert ended.value.code == 0, text
    assert "each is compared with gate, which was named first" in text and "ensemble" in text
    toy('set = {"train.epochs" = 3}')
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 1
    assert "not done: net-seed0, net-seed1" in capsys.readouterr().out
