"""Searches: every trial is run once and none is lost, whatever is killed; a planted optimum is found.

Commands run through an executor of the test. What a trial would score is a function of its values that the test knows.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from gisegkit.cli import cli
from gisegkit.errors import RecipeError, RunError
from gisegkit.runs.plan_record import read_record, write_record
from gisegkit.runs.trials_record import read_trials
from gisegkit.types import JobEnd
from gisegkit.workflows.plan import open_plan, run_plan
from gisegkit.workflows.plan_page import rank_plan, search_lines, write_page
from gisegkit.workflows.searching import Searcher

SEARCH = """
[[run]]
name = "n"
recipe = "{recipe}"
[run.set]
"train.epochs" = 5
[search]
name = "random"
trials = 12
{more}
[search.space]
"optimizer.lr" = {{log_uniform = [1e-6, 1.0]}}
"loss.0.name" = {{choice = ["bce", "dice"]}}
"""


def promise(cluster, job):
    """The best score is at a learning rate of 1e-2."""
    rate = next(text for text in cluster.sets(job) if text.startswith("optimizer.lr="))
    return max(0.05, 1 - abs(math.log10(float(rate.partition("=")[2])) + 2) / 4)


@pytest.fixture
def train(cluster, finish):
    """A job that finishes an epoch each round, and a run after the fifth."""

    def fate(job, number):
        folder, score = cluster.folder(job), promise(cluster, job)
        if (folder / "evaluation").is_dir():
            return JobEnd(0)  # asked again by the next coordinator
        folder.mkdir(exist_ok=True)
        (folder / "recipe.toml").write_text("")
        lines = (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").is_file() else []
        if len(lines) < 5:
            entry = {"epoch": len(lines) + 1, "seconds": 1.0, "peak_memory": 0, "scores": {"dice": score}}
            (folder / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(entry)]) + "\n")
            return None
        return finish(job, score)

    return fate


def words_of(states):
    return [state.word for state in states.values()]


@pytest.mark.slow
def test_a_planted_optimum_is_found_and_losers_are_pruned_and_counted(cluster, open_, train):
    """The recipe's rate is 0.1, an order of magnitude off; trials that are worse than the median are ended early."""
    lines, work = [], open_(text=SEARCH)
    executor = cluster(train, 2)
    ran = run_plan(work, executor, say=lines.append)
    assert ran.complete and ran.tried == 12 and executor.submitted == [f"n-trial{n:03d}" for n in range(12)]
    words = words_of(ran.states)
    assert words.count("pruned") == len(executor.cancelled) > 0 and words.count("done") == 12 - words.count("pruned")
    told = search_lines(work, ran.states)
    assert told[0].startswith("search for dice: 12 trials: ")
    assert f"{words.count('pruned')} pruned" in told[0] and f"{words.count('done')} done" in told[0]
    rates = {trial.number: trial.values["optimizer.lr"] for trial in read_trials(work.folder)}
    nearest = min(rates, key=lambda number: abs(math.log10(rates[number]) + 2))
    assert f"best: n-trial{nearest:03d}" in told[1] and ran.states[f"n-trial{nearest:03d}"].word == "done"
    assert abs(math.log10(rates[nearest]) + 2) < 1  # nearer than the recipe's own
    pruned = next(line for line in lines if "pruned after" in line)
    assert "is worse than the median" in pruned
    found = rank_plan(work, ran.states)
    assert len(found.rows) == words.count("done") and found.rows[0].name == f"n-trial{nearest:03d}"
    page = write_page(work, ran.states, found).read_text()
    assert page.count("is worse than the median") == words.count("pruned") and "best so far" in page
    again = cluster(train)
    assert run_plan(open_(text=SEARCH), again, say=lines.append).complete and again.submitted == []
    assert any(line.startswith("[1/12] n-trial000: giseg run") for line in lines)
    words = ["plan", str(work.plan.source), "--out", str(work.folder), "--device", "cpu"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0 and all(line in result.output for line in told), result.output
    assert f"ranking: {work.folder / 'ranking.html'}" in result.output


class InProcess:
    """An executor that runs real commands in this process, one at a time."""

    slots, interval = 1, 0.01

    def submit(self, job):
        result = CliRunner().invoke(cli, list(job.command[3:]))
        self.end = JobEnd(result.exit_code)
        return "the only one"

    def poll(self, handle):
        return self.end

    def close(self):
        pass


@pytest.mark.slow
def test_real_trainings_find_a_rate_that_learns(open_, several, tmp_path):
    """The recipe's own rate is far too low to learn anything; 4 trials of a blink find one that does."""
    head = '[[run]]\nname = "far"\nrecipe = "{recipe}"\n[run.set]\n"optimizer.lr" = 1e-6\n"train.epochs" = 8\n'
    text = SEARCH.replace('"loss.0.name" = {{choice = ["bce", "dice"]}}', "").replace('epochs" = 5', 'epochs" = 8')
    text = head + text.replace('"train.epochs" = 8', '"train.epochs" = 8\n"train.validate_every" = 8')
    text = text.replace("trials = 12", 'trials = 4\nrun = "n"')
    work = open_(text=text)
    ran = run_plan(work, InProcess(), say=lambda line: None)
    assert ran.complete, ran.states
    scores = {name: state.score for name, state in ran.states.items()}
    best = max(scores, key=scores.get)
    rates = {f"n-trial{trial.number:03d}": trial.values["optimizer.lr"] for trial in work.trials}
    assert best in rates and scores[best] > 2 * scores["far"] and rates[best] > 1e-3
    assert search_lines(work, ran.states)[1].startswith(f"best: {best}, dice {scores[best]:.4f}")


class Killed(BaseException):
    """In place of kill -9 of the coordinator."""


@pytest.mark.slow
def test_a_killed_coordinator_runs_every_trial_once_and_loses_none(cluster, open_, train):
    """Killed after each of the first 20 polls; jobs of the cluster go on meanwhile."""
    text = SEARCH.replace("trials = 12", "trials = 6")
    whole = cluster(train, 2)
    assert run_plan(open_(text=text, out="whole"), whole, say=lambda line: None).complete
    jobs, submitted, polls = {}, [], 0

    def fate(job, number):
        nonlocal polls
        polls += 1
        if polls <= 20:
            end = train(job, number)
            if end is None:
                raise Killed
            return end
        return train(job, number)

    for _ in range(30):
        executor = cluster(fate, 2, jobs)
        try:
            ran = run_plan(open_(text=text), executor, say=lambda line: None)
            break
        except Killed:
            submitted += executor.submitted
    submitted += executor.submitted
    assert ran.complete and sorted(submitted) == sorted(whole.submitted) and polls > 20
    first, second = (open_(text=text, out=out) for out in ("whole", "p"))
    assert read_trials(first.folder) == read_trials(second.folder)


@pytest.mark.slow
def test_killed_between_the_note_and_the_cancel_a_pruned_trial_is_cancelled(cluster, open_, train):
    class Dies(cluster):
        def cancel(self, handle):
            raise Killed

    work = open_(text=SEARCH)
    first = Dies(train, 1)
    with pytest.raises(Killed):
        run_plan(work, first, say=lambda line: None)
    (name,) = (name for name, ended in read_record(work.folder).items() if ended.pruned)
    second = cluster(train, 1, first.jobs)
    ran = run_plan(open_(text=SEARCH), second, say=lambda line: None)
    assert ran.complete and ran.states[name].word == "pruned" and read_record(work.folder)[name].job == ""
    assert second.cancelled[0] in first.jobs and name not in second.submitted


@pytest.mark.slow
def test_a_pruned_trial_that_ended_meanwhile_is_not_begun_again(cluster, open_, train):
    class Dies(cluster):
        def cancel(self, handle):
            raise Killed

    work = open_(text=SEARCH)
    with pytest.raises(Killed):
        run_plan(work, Dies(train, 1), say=lambda line: None)
    (name,) = (name for name, ended in read_record(work.folder).items() if ended.pruned)
    second = cluster(train, 1)  # which knows none of the jobs
    assert run_plan(open_(text=SEARCH), second, say=lambda line: None).complete and name not in second.submitted
    assert read_record(work.folder)[name].code == 0 and read_record(work.folder)[name].pruned != ""


def test_a_search_as_a_demo_and_with_data_elsewhere(cluster, open_, several, tmp_path):
    work = open_(text=SEARCH)
    demo = open_plan(Path(work.plan.source), several.plugins.registries, out=tmp_path / "d", demo=True)
    made = Searcher(demo, demo.goal, say=print).ask()
    assert "--demo" in made.words and demo.recipes[made.name].demo and demo.goal.epochs == 6  # as demos have
    moved = open_plan(Path(work.plan.source), several.plugins.registries, out=tmp_path / "m", root="elsewhere")
    made = Searcher(moved, moved.goal, say=print).ask()
    assert 'dataset.root="elsewhere"' in made.words


def test_killed_workers_are_continued(cluster, open_, train):
    """Each job is lost once, after its third round; its epochs are kept, and it is told as one trial."""
    lost = set()

    def fate(job, number):
        if number == 3 and job.name not in lost:
            lost.add(job.name)
            return JobEnd(None, "node failed")
        return train(job, number)

    executor = cluster(fate, 2)
    text = SEARCH.replace("trials = 12", 'trials = 3\nprune = "none"')
    ran = run_plan(open_(text=text), executor, say=lambda line: None)
    assert words_of(ran.states) == ["done"] * 3 and len(lost) == 3
    assert sorted(executor.submitted) == sorted(2 * [f"n-trial{n:03d}" for n in range(3)])


@pytest.mark.slow
def test_a_failed_trial_counts_and_is_tried_again_with_the_next_command(cluster, open_, train):
    text = SEARCH.replace("trials = 12", "trials = 3")
    broken = cluster(lambda job, number: JobEnd(3) if job.name == "n-trial001" else train(job, number))
    ran = run_plan(open_(text=text), broken, say=lambda line: None)
    assert (
        words_of(ran.states) == ["done", "failed", "done"]
        and "1 failed" in search_lines(open_(text=text), ran.states)[0]
    )
    again = cluster(train)
    assert run_plan(open_(text=text), again, say=lambda line: None).complete and again.submitted == ["n-trial001"]


@pytest.mark.slow
def test_a_grid_ends_by_itself_and_says_what_it_leaves_out(cluster, open_, train):
    text = SEARCH.replace('"random"', '"grid"').replace("trials = 12\n", "points = 3\n")
    ran = run_plan(open_(text=text), cluster(train), say=lambda line: None)
    assert words_of(ran.states) == ["done"] * 6
    lines = []
    some = text.replace("points = 3", "points = 3\ntrials = 4")
    ran = run_plan(open_(text=some, out="q"), cluster(train), say=lines.append)
    assert lines[0] == "search: only 4 of the 6 trials of the search are run, because trials says so"
    assert words_of(ran.states) == ["done"] * 4


def test_a_search_beside_a_sweep(cluster, open_, train):
    """The sweep's cells come first, and what follows them knows nothing of the trials."""
    sweep = '[[run]]\nname = "m"\nrecipe = "{recipe}"\nseeds = [0, 1]\n[ensemble]\n'
    text = sweep + SEARCH.replace("trials = 12", 'trials = 2\nrun = "n"')
    work = open_(text=text)
    assert [step.name for step in work.steps] == ["m-seed0", "m-seed1", "ensemble", "evaluate"]
    assert list(work.plan.members) == ["m-seed0", "m-seed1"]

    def fate(job, number):
        if job.command[3] != "run":
            return JobEnd(3)
        return train(job, number) if "trial" in job.name else JobEnd(4)

    executor = cluster(fate, 1)
    ran = run_plan(work, executor, say=lambda line: None)
    assert executor.submitted == ["m-seed0", "m-seed1", "n-trial000", "n-trial001"]
    assert words_of(ran.states) == ["failed", "failed", "waiting", "waiting", "done", "done"]


def test_a_trial_whose_values_the_recipe_refuses_together_is_told_and_counts(cluster, open_, train):
    """Each value alone suits the recipe, whose batch is 2; a batch of 1 and a micro-batch of 2 do not go together."""
    text = SEARCH.replace('"random"', '"grid"').replace("trials = 12\n", "")
    a, b = text.index('"optimizer.lr"'), text.index('"loss.0.name"')
    text = text[:a] + '"train.batch_size" = {{choice = [2, 1]}}\n"train.micro_batch" = {{choice = [1, 2]}}\n'
    lines = []
    work, executor = open_(text=text), cluster(lambda job, number: JobEnd(3))
    ran = run_plan(work, executor, say=lines.append)
    assert len(executor.submitted) == 3 and words_of(ran.states) == ["failed"] * 3 and b > a
    assert "trial 3 is refused: train.micro_batch = 2; it counts as failed" in lines
    assert "3 failed, 1 refused" in search_lines(work, ran.states)[0]
    page = write_page(work, ran.states, "nothing").read_text()
    assert "<td>refused</td>" in page and "train.micro_batch = 2" in page
    assert open_(text=text).refused == {3: "train.micro_batch = 2"}


@pytest.mark.parametrize(
    ("change", "found", "remedy"),
    [
        (('"optimizer.lr"', '"optimizer.rl"'), "unknown parameter 'rl' of optimizer 'adam'", "Valid: lr"),
        (("[1e-6, 1.0]", "[1e-6, 0]"), "optimizer.lr = ", "log_uniform = [low, high]"),
        (('"loss.0.name" = {{choice', '"loss.0.weight" = {{choice'), 'loss.0.weight = "bce"', "a number 0 or more"),
        (('["bce", "dice"]', '["bce", "dcie"]'), "unknown loss 'dcie'", "did you mean 'dice'"),
        (("trials = 12", 'trials = 12\nmetric = "dcie"'), "'dcie' is no metric", "did you mean 'dice'"),
        (("trials = 12", 'trials = 12\nrun = "m"'), 'there is no run "m"', "Valid: n"),
        (("trials = 12", "trials = 12\npruned = 3"), "unknown parameter 'pruned' of search 'random'", "prune"),
        (("[search.space]", "[predict]\n[search.space]"), "[predict] of which of the trials?", "into a recipe"),
        (('"train.epochs" = 5', '"optimizer.lr" = 0.1'), "optimizer.lr is searched and set", "keep one"),
        (("trials = 12", 'trials = 12\nmetric = "dice/c"'), "'dice/c' is no score of this recipe", "dice/a"),
        (('"loss.0.name"', '"split.fold"'), "split.fold is searched: the trials would be scored on other", "[[run]]"),
        (('"loss.0.name" =', 'split.seed = {{integer = [1, 1]}}\n"loss.0.name" ='), "split.seed = ", "write 1 below"),
        (
            ('"loss.0.name" =', 'train.batch_size = {{uniform = [2, 3]}}\n"loss.0.name" ='),
            "train.batch_size = 2.4",
            "Write {integer = [2, 3]}",
        ),
        (
            ('["bce", "dice"]}}', '["bce", "dice"]}}\n"loss.0" = {{choice = [{{name = "bce"}}]}}'),
            "loss.0 replaces loss.0.name, which is given as well",
            "leave one",
        ),
        (
            ("[search.space]", "[search.space]\noptimizer.lr = {{uniform = [0.1, 1.0]}}"),
            "optimizer.lr is there twice",
            "keep one",
        ),
        (('name = "n"', 'name = "n"\nseeds = [0, 1]'), '"n" has 2 cells', "remove vary and seeds"),
        (("[search]", '[[run]]\nname = "m"\nrecipe = "{recipe}"\n[search]'), "of which of the 2 runs?", 'run = "n"'),
    ],
)
def test_all_mistakes_are_told_before_the_first_run(open_, change, found, remedy):
    with pytest.raises(RecipeError) as told:
        open_(text=SEARCH.replace(*change))
    (mistake, *_) = [one for one in told.value.mistakes if found in one.found] or told.value.mistakes
    assert found in mistake.found
    assert "plan.toml:" in mistake.place and remedy in mistake.remedy


def test_a_choice_may_be_a_whole_list_of_losses(open_):
    losses = '"loss" = {{choice = [[{{name = "bce"}}], [{{name = "bce"}}, {{name = "dice"}}]]}}'
    goal = open_(text=SEARCH.replace('"loss.0.name" = {{choice = ["bce", "dice"]}}', losses)).goal
    assert goal.space["loss"].values == ([{"name": "bce"}], [{"name": "bce"}, {"name": "dice"}])


def test_a_trial_without_the_score_that_is_searched_for_ends_the_search(cluster, open_, train):
    """Of a data set whose classes only its files tell, the metric cannot be checked before."""
    work = open_(text=SEARCH)
    work.goal = replace(work.goal, metric="dice/c")
    with pytest.raises(RunError, match=r'metric = "dice/c", and n-trial000 has no such score; there are: dice'):
        run_plan(work, cluster(lambda job, number: train(job, cluster)), say=lambda line: None)


def test_a_search_without_an_end_needs_a_number_of_trials(cluster, open_):
    work = open_(text=SEARCH.replace("trials = 12\n", ""))
    with pytest.raises(RecipeError, match=r"(?s)search 'random' has no end of its own.*trials = 20"):
        run_plan(work, cluster(None), say=lambda line: None)


@pytest.mark.parametrize(
    ("text", "maximize"),
    [("", True), ('direction = "minimize"', False), ('metric = "dice/a"', True), ('direction = "maximize"', True)],
)
def test_the_direction_is_the_metrics_own_unless_the_plan_says_so(open_, text, maximize):
    assert open_(more=text, text=SEARCH).goal.maximize is maximize


@pytest.mark.slow
def test_the_course_of_folds_has_the_scores_of_each_case(open_, folds_run, several):
    """Of a run in three folds, against what the tables of the folds say."""
    import shutil

    import pandas as pd

    text = SEARCH.replace('name = "n"', 'name = "n"\nfolds = "all"')
    work = open_(text=text)
    searcher = Searcher(work, work.goal, say=print)
    name = searcher.ask().name
    assert searcher.course(name).folds == ()
    shutil.copytree(folds_run[0].path, work.folder / name, dirs_exist_ok=True)
    found = searcher.course(name)
    assert len(found.folds) == len(found.cases) == 3 and [epoch for epoch, _ in found.folds[0]] == [1, 2, 3]
    table = pd.read_csv(work.folder / name / "fold0" / "evaluation" / "by_slice.csv", dtype={"case": str})
    assert found.cases[0] == pytest.approx(table.groupby("case")["dice"].mean().to_dict())
    work = open_(text=text.replace("trials = 12", 'trials = 12\nmetric = "dice/b"'), out="by-class")
    searcher = Searcher(work, work.goal, say=print)
    shutil.copytree(folds_run[0].path, work.folder / searcher.ask().name, dirs_exist_ok=True)
    own = table[table["class"] == "b"].set_index("case")["dice"].groupby("case").mean().dropna()
    assert searcher.course(name).cases[0] == pytest.approx(own.to_dict())
    with (work.folder / name / "fold1" / "metrics.jsonl").open("a") as file:
        file.write('{"epo')  # a line that is being written
    assert len(searcher.course(name).folds) == 1


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("[1e-6, 1.0]", "[1e-5, 1.0]"), "optimizer.lr was log_uniform [1e-06, 1] and is log_uniform [1e-05, 1]"),
        (('["bce", "dice"]', '["dice"]'), 'loss.0.name was choice ["bce", "dice"] and is choice ["dice"]'),
        (('"loss.0.name" = {{choice = ["bce", "dice"]}}', ""), "and is not there"),
        (("trials = 12", 'trials = 12\ndirection = "minimize"'), "direction was maximize and is minimize"),
        (("trials = 12", 'trials = 12\nmetric = "dice/a"'), "metric was dice and is dice/a"),
    ],
)
def test_trials_of_another_search_are_not_mixed_with_those_of_this_one(cluster, open_, train, change, found):
    text = SEARCH.replace("trials = 12", "trials = 2")
    change = tuple(part.replace("trials = 12", "trials = 2") for part in change)
    assert run_plan(open_(text=text), cluster(train), say=lambda line: None).complete
    with pytest.raises(RecipeError) as told:
        open_(text=text.replace(*change))
    (mistake,) = told.value.mistakes
    assert "the 2 trials in" in mistake.found and found in mistake.found and "--out" in mistake.remedy
    assert open_(text=text.replace(*change), out="elsewhere").trials == []


def test_trials_of_other_settings_are_not_mixed_with_those_of_this_one(cluster, open_, train):
    """Also if all of them were pruned."""
    text = SEARCH.replace("trials = 12", "trials = 2")
    work = open_(text=text)
    assert run_plan(work, cluster(train), say=lambda line: None).complete
    (work.folder / "n-trial001" / "evaluation" / "scores.json").unlink()
    work.record["n-trial001"] = replace(work.record["n-trial001"], pruned="it was far behind")
    write_record(work.folder, work.record)
    file = work.folder / "n-trial001" / "recipe.toml"
    file.write_text(work.recipes["n-trial001"].text())
    assert words_of(open_(text=text).states()) == ["done", "pruned"]
    told = r"2 of the 2 trials in .* had other settings: train.epochs: 5 -> 6\n +give this search .* --out"
    with pytest.raises(RecipeError, match=told):
        open_(text=text.replace('"train.epochs" = 5', '"train.epochs" = 6'))


def test_more_trials_or_another_way_to_search_continue_it(cluster, open_, train):
    text = SEARCH.replace("trials = 12", "trials = 2")
    assert run_plan(open_(text=text), cluster(train), say=lambda line: None).complete
    more = text.replace("trials = 2", "trials = 3\nseed = 7")
    executor = cluster(train)
    assert run_plan(open_(text=more), executor, say=lambda line: None).complete
    assert executor.submitted == ["n-trial002"]


def test_trials_that_were_written_without_their_aim_are_judged_by_their_keys(open_):
    text = SEARCH.replace("trials = 12", "trials = 2")
    work = open_(text=text)
    work.folder.mkdir()
    entry = {"number": 0, "values": {"optimizer.lr": 0.1, "loss.0.name": "bce"}}
    (work.folder / "trials.json").write_text(json.dumps({"format": 1, "trials": [entry]}))
    assert len(open_(text=text).trials) == 1
    entry["values"]["train.epochs"] = 3
    (work.folder / "trials.json").write_text(json.dumps({"format": 1, "trials": [entry]}))
    with pytest.raises(RecipeError, match=r"train\.epochs was an axis and is not there"):
        open_(text=text)
