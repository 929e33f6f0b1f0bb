"""giseg plan: what is missing is run, what is finished is kept, what fails stops nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gisegkit.cli import cli, main
from gisegkit.components.executors import Local
from gisegkit.errors import GisegError, Interrupted, RecipeError, RunError
from gisegkit.runs.locks import is_locked
from gisegkit.types import JobEnd
from gisegkit.workflows.plan import open_plan, run_plan
from gisegkit.workflows.time_left import time_left

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
    """An executor that runs commands in this process, one at a time, and keeps them."""

    slots, interval = 1, 0.01

    def __init__(self, before=None):
        self.commands, self.before = [], before

    def submit(self, job):
        (_, _, _, *words), log = job.command, Path(job.log)
        self.code = self.execute(words, log)
        return "the only one"

    def poll(self, handle):
        return JobEnd(self.code)

    def close(self):
        pass

    def execute(self, words, log):
        self.commands.append(words)
        if self.before is not None and (code := self.before(words, log)) is not None:
            return code
        result = CliRunner().invoke(cli, list(words))
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


EVERY = ["gate", "net-seed0", "net-seed1", "ensemble", "evaluate", "tune", "predict"]


class Toy:
    """Opens plans of a recipe on the small set, with one fold and two epochs."""

    def __init__(self, several, folder):
        self.registries, self.folder = several.plugins.registries, folder
        self.recipe = folder / "recipe.toml"
        self.recipe.write_text(several.recipe("split.fold=0", "train.epochs=2").text())

    def __call__(self, more="", text=PLAN, out="p"):
        file = self.folder / "plan.toml"
        file.write_text(text.format(recipe=self.recipe.name, more=more))
        return open_plan(file, self.registries, out=self.folder / out, device="cpu")


@pytest.fixture
def toy(several, tmp_path):
    """Opens plans in a folder of their own."""
    return Toy(several, tmp_path)


@pytest.fixture(scope="module")
def ran(several, tmp_path_factory):
    """A plan that ran to its end, and the commands that it took."""
    work, inside = Toy(several, tmp_path_factory.mktemp("plan"))(), Inside()
    states = run_plan(work, inside, say=lambda line: None)
    return work, inside, states


@pytest.fixture
def finished(toy, ran):
    """A copy of it, elsewhere."""
    return Path(shutil.copytree(ran[0].folder, toy.folder / "p"))


def words_of(states):
    return {name: state.word for name, state in states.items()}


def test_runs_come_first_and_then_what_is_made_of_them(toy, ran):
    new = toy()
    assert words_of(new.states()) == {name: "missing" for name in EVERY[:3]} | {name: "waiting" for name in EVERY[3:]}
    assert time_left(new, new.states()) is None
    work, inside, result = ran
    assert result.complete and inside.did == EVERY and result.tried == 7
    assert (work.folder / "submission.csv").is_file() and not (work.folder / "DEMO.txt").exists()
    assert json.loads((work.folder / "ensemble" / "ensemble.json").read_text())["gate"]["pixels"] == {"a": 3, "b": 3}
    scored = json.loads((work.folder / "ensemble" / "evaluation" / "scores.json").read_text())["scores"]["dice"]
    assert result.states["evaluate"].score == scored
    tuned = json.loads((work.folder / "ensemble" / "tuning.json").read_text())
    gain = f"dice {tuned['gain']['estimate']:+.4f} ("
    assert result.states["tune"].detail.startswith(gain) and tuned["changes"] != []
    assert result.states["tune"].detail.endswith(", applied")
    assert result.states["net-seed0"].score is not None and time_left(work, result.states) == 0


def test_nothing_is_made_twice_even_in_a_folder_that_was_moved(toy, finished):
    again = Inside()
    assert run_plan(toy(), again, say=lambda line: None).complete and not again.commands
    (finished / "plan.json").unlink()  # runs are found without it; whose the ensemble is, is not known any more
    states = toy().states()
    assert [states[name].word for name in EVERY[:4]] == ["done", "done", "done", "changed"]


def test_what_follows_is_made_again_if_what_it_is_made_of_changes(toy, finished):
    file = finished / "ensemble" / "decision.json"
    file.write_text(file.read_text().replace('"a": ', '"a":  '))
    again = Inside()
    assert run_plan(toy(), again, say=lambda line: None).complete and again.did == ["predict"]
    other = toy(text=PLAN.replace("pixels = 3", "pixels = 4"))
    state = other.states()["ensemble"]
    assert state.word == "changed" and f"remove {finished / 'ensemble'}" in state.detail
    assert not run_plan(other, again, say=lambda line: None).complete and again.did == ["predict"]
    changed = toy('set = {"train.epochs" = 1}').states()
    assert [changed[name].word for name in EVERY[:3]] == ["done", "changed", "changed"]
    assert "train.epochs: 2 -> 1 (the plan changed since" in changed["net-seed1"].detail


def test_a_failed_run_is_told_in_a_line_and_only_what_needs_it_waits(toy, finished):
    """Trained again, it is the same to the last bit, so that nothing after it is made again."""
    shutil.rmtree(finished / "net-seed0")
    shutil.rmtree(finished / "net-seed1" / "evaluation")
    lines = []
    broken = Inside(lambda words, log: 1 if "seed=0" in words else None)
    result = run_plan(toy(), broken, say=lines.append)
    assert broken.did == ["net-seed0", "net-seed1"] and not result.complete
    assert words_of(result.states)["net-seed0"] == "failed" and result.states["ensemble"].word == "waiting"
    assert result.states["ensemble"].detail == "for net-seed0"
    assert any("net-seed0: failed after" in line and line.endswith("exit status 1") for line in lines)
    assert time_left(toy(), result.states) == pytest.approx(result.states["net-seed1"].seconds)
    again = Inside()
    assert run_plan(toy(), again, say=lines.append).complete and again.did == ["net-seed0"]


def test_the_data_may_be_elsewhere(toy, several, finished):
    """Finished runs stay; a run that is missing reads the data from there."""
    elsewhere = several.folder / "none"
    words = ["plan", str(toy.folder / "plan.toml"), "--out", str(finished), "--root", str(elsewhere), "--list"]
    work = toy()
    moved = open_plan(toy.folder / "plan.toml", toy.registries, out=work.folder, root=str(elsewhere))
    assert set(words_of(moved.states()).values()) == {"done"}
    assert CliRunner().invoke(cli, words).output.count("done") == len(EVERY)
    shutil.rmtree(finished / "net-seed1")
    result = run_plan(moved, Inside(), say=lambda line: None)
    assert result.states["net-seed1"].word == "failed" and str(elsewhere) in result.states["net-seed1"].detail


def test_a_mistake_of_the_data_is_the_cause(toy):
    work = toy('set = {"dataset.pattern" = "(?P<case>q)(?P<position>1)"}')
    ran = run_plan(work, Inside(), say=lambda line: None)
    assert ran.states["net-seed1"].word == "failed"
    assert "pattern" in ran.states["net-seed1"].detail and "\n" not in ran.states["net-seed1"].detail


def test_an_ensemble_that_was_killed_half_made_is_made_again(toy, finished):
    def killed(words, log):
        if words[0] != "ensemble":
            return None
        (finished / "ensemble").mkdir()
        (finished / "ensemble" / "ensemble.json").write_text("{}")
        return -9

    shutil.rmtree(finished / "ensemble")
    state = run_plan(toy(), Inside(killed), say=lambda line: None).states["ensemble"]
    assert (state.word, state.detail) == ("failed", "killed by signal 9 (maybe memory ran out)")
    again = Inside()
    assert run_plan(toy(), again, say=lambda line: None).complete
    assert again.did == ["ensemble", "evaluate", "tune"]  # which give the same decision as before


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
    with pytest.raises(RecipeError) as told:
        toy(text='[[run]]\nname = "net"\nrecipe = "none.toml"\n')
    (mistake,) = told.value.mistakes
    assert mistake.place.endswith("plan.toml:3")
    assert mistake.found == f"there is no recipe {tmp_path / 'none.toml'}"
    assert "recipe.toml" in mistake.remedy
    with pytest.raises(RecipeError, match="no such plan"):
        open_plan(tmp_path / "none.toml", toy().registries)
    assert not (tmp_path / "p").exists()


def test_what_a_plan_tunes_is_checked_before_anything_runs(toy):
    run = '[[run]]\nrecipe = "recipe.toml"\n'
    with pytest.raises(RecipeError) as told:
        toy(text=run + '[tune]\nmetric = "dicee"\nonly = ["threshold", "min_area.pixel", "?"]\n')
    assert [(m.place.rpartition("/")[2], m.found, m.remedy.partition(",")[0]) for m in told.value.mistakes] == [
        ("plan.toml:4", "the recipe 'several' has no metric 'dicee'", "did you mean 'dice'?"),
        ("plan.toml:5", "a decision has no number 'min_area.pixel'", "did you mean 'min_area.pixels'?"),
        ("plan.toml:5", "a decision has no number '?'", "there are: threshold"),
    ]
    toy(text=run + '[tune]\nmetric = "dice"\nonly = ["threshold", "continuity.fill"]\n')


def test_two_processes_do_not_work_on_one_plan(toy, hold):
    work = toy()
    holder = hold(work.folder)
    with pytest.raises(RunError, match="in use by another giseg process"):
        run_plan(work, Inside(), say=lambda line: None)
    assert words_of(work.states())["gate"] == "missing"  # looking is free
    holder.kill()
    holder.wait()
    hold(work.folder / "gate")
    fails = Inside(lambda words, log: 1)
    assert run_plan(toy(), fails, say=lambda line: None).states["gate"].word == "running"
    assert fails.did == ["net-seed0", "net-seed1"]


def test_a_plan_that_another_process_has_worked_on_since_it_was_read_is_refused(toy):
    """Else its record would be written over, and what the other pruned or asked for would be run again."""
    late = toy()
    run_plan(toy(), Inside(lambda words, log: 1), say=lambda line: None)
    before = (late.folder / "plan.json").read_text()
    with pytest.raises(RunError, match=r"another giseg plan has worked in .* since this one read it"):
        run_plan(late, Inside(), say=lambda line: None)
    assert (late.folder / "plan.json").read_text() == before


ONE = '[[run]]\nname = "n"\nrecipe = "{recipe}"\nset = {{"train.epochs" = 10}}\n{more}\n'


def test_a_run_whose_process_is_killed_resumes(toy):
    work = toy(text=ONE)

    def kill():
        while not (work.folder / "n" / "last.pt").is_file():
            time.sleep(0.01)
        os.kill(json.loads((work.folder / "n" / ".lock").read_text())["pid"], signal.SIGKILL)

    other = threading.Thread(target=kill)
    other.start()
    state = run_plan(work, say=lambda line: None).states["n"]
    other.join()
    assert (state.word, state.detail) == ("failed", "killed by signal 9 (maybe memory ran out)")
    assert 0 < state.done < 1 and not is_locked(work.folder / "n")
    lines = work.folder / "n" / "metrics.jsonl"
    first = lines.read_text().splitlines()[0]
    assert run_plan(toy(text=ONE), Inside(), say=lambda line: None).complete
    found = lines.read_text().splitlines()
    assert (found[0], len(found)) == (first, 10)  # resumed, not begun again: the seconds of epoch 1 are there


def test_an_interruption_says_how_to_continue_and_loses_nothing(toy, finished):
    def stopped(words, log):
        raise KeyboardInterrupt

    shutil.rmtree(finished / "net-seed1")
    with pytest.raises(Interrupted, match="interrupted in net-seed1; what is finished is kept: run the same command"):
        run_plan(toy(), Inside(stopped), say=lambda line: None)
    assert words_of(toy().states()) == {
        **dict.fromkeys(EVERY, "waiting"),
        **dict.fromkeys(EVERY[:2], "done"),
        "net-seed1": "missing",
    }
    again = Inside()
    assert run_plan(toy(), again, say=lambda line: None).complete and again.did == ["net-seed1"]


def test_the_command_lists_runs_and_ends_with_one_if_something_is_not_done(toy, finished, capsys, monkeypatch):
    inside = Inside()
    monkeypatch.setattr(Local, "submit", lambda self, job: inside.submit(job))
    monkeypatch.setattr(Local, "poll", lambda self, handle: inside.poll(handle))
    toy()
    command = ["plan", str(toy.folder / "plan.toml"), "--out", str(finished), "--device", "cpu"]

    def ended(*words):
        with pytest.raises(SystemExit) as stop:
            main([*command, *words])
        return stop.value.code, capsys.readouterr().out

    code, text = ended()
    assert code == 0 and not inside.commands, text
    assert "each is compared with gate, which the plan names first" in text and "ensemble" in text
    toy('set = {"train.epochs" = 3}')
    code, text = ended("--list")
    assert code == 0 and "net-seed1  changed" in text and "compared" not in text
    code, text = ended()
    assert code == 1 and "not done: net-seed0, net-seed1" in text and not inside.commands


def test_a_class_of_the_gate_that_there_is_not_is_told_before_the_first_run(toy):
    text = PLAN.replace("pixels = 3", "pixels = {{a = 3, c = 1}}")
    with pytest.raises(RecipeError, match=r"plan.toml:13: there is no class 'c'\n +there are: a, b"):
        toy(text=text)


def test_data_that_vary_are_not_all_replaced_by_root(toy):
    toy(text='[[run]]\nrecipe = "{recipe}"\n[run.vary]\n"dataset.root" = ["a", "b"]\n')
    with pytest.raises(RecipeError, match=r"plan.toml:4: the runs have several data, and --root is given"):
        open_plan(toy.folder / "plan.toml", toy.registries, out=toy.folder / "p", root="c")


def test_the_ranking_says_that_an_ensemble_is_one(ran):
    from gisegkit.workflows.plan_page import rank_plan

    work, *_ = ran
    rows = {row.name: row.differences for row in rank_plan(work, work.states()).rows}
    assert rows["ensemble"][0] == "it is an ensemble" and "it is an ensemble" not in rows["net"]


def test_an_ensemble_of_runs_without_a_common_fold_is_refused_before_they_train(toy):
    text = '[[run]]\nrecipe = "{recipe}"\nvary = {{"split.fold" = [0, 1]}}\n[ensemble]\n'
    with pytest.raises(RecipeError, match=r"(?s)plan.toml:4: \[ensemble\]: its runs validate on .*folds = \[0, 1\]"):
        toy(text=text)
    assert toy(text=text.replace("[0, 1]", '[0, "all"]')).plan.members
