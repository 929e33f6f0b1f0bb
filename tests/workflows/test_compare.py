"""giseg compare: the table, the verdicts, and what is said besides."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gisegkit.cli import main
from gisegkit.components.metrics.overlap_metrics import Dice
from gisegkit.engine.bootstrap import CaseSums, Interval, bootstrap_interval, smallest_p
from gisegkit.plugins import load_plugins
from gisegkit.runs.scored import case_sums
from gisegkit.workflows.compare import compare, paired, verdict, within
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.train import train


@pytest.fixture
def giseg(monkeypatch, capsys):
    """Runs a command; gives its standard output, or where it fails its standard error."""
    plugins = load_plugins(selection="none")
    monkeypatch.setattr("gisegkit.cli.installed", lambda: plugins)

    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert (stop.value.code or 0) == code, printed.out + printed.err
        return printed.err if code else printed.out

    return run


def named(table, label):
    """A run's row; the rows are sorted by score."""
    return next(row for row in table.rows if row.run.label == label)


def others(table):
    """The rows that are compared with the first, in the order of their names."""
    return sorted((row for row in table.rows if row.comparison is not None), key=lambda row: row.run.label)


def verdicts(table):
    return [row.comparison.verdict for row in others(table)]


@pytest.mark.slow
def test_two_seeds_of_a_tiny_run_show_no_difference(home, session, finished, recipe, giseg):
    run, _ = finished
    other = train(session.experiment(recipe("seed=1", "train.epochs=2")), home / "seed-1")
    scores = evaluate(other, session.experiment(recipe("seed=1", "train.epochs=2"))).scores
    out = giseg("compare", run.path, other.path)
    assert " seed-1, " in out and ": no difference shown: 1 case can show none" in out
    assert f"{scores['scores']['uwmgi_score']:.4f}" in out and "  81,771  " in out
    assert "note: What differs from finished to seed-1: seed: 0 -> 1; train.epochs: 3 -> 2." in out
    assert "nothing but the seed" not in out


@pytest.mark.slow
def test_two_seeds_with_many_cases_show_no_difference(write_run, registries):
    table = compare([write_run("a", cases=30), write_run("b", cases=30, seed=1)], registries)
    other = named(table, "b").comparison
    assert other.verdict.startswith("no difference shown (95 % interval -0.0")
    assert other.difference.low < 0 < other.difference.high and other.p > 0.05 and other.cases == 30
    assert any("differ in nothing but the seed" in note for note in table.notes)


def test_a_worse_run_is_lower_and_a_better_one_higher(write_run, registries):
    paths = [write_run("good", flipped=0.1, cases=12), write_run("bad", flipped=0.2, cases=12, seed=1)]
    table = compare(paths, registries)
    other = named(table, "bad").comparison
    assert [row.run.label for row in table.rows] == ["good", "bad"]
    assert verdicts(table)[0].startswith("lower than good (95 % interval -0.")
    assert other.p == pytest.approx(smallest_p(12)) and verdicts(table)[0].endswith("p = 0.00049)")
    assert other.difference.estimate == pytest.approx(table.rows[1].interval.estimate - table.rows[0].interval.estimate)
    turned = compare(paths[::-1], registries)
    assert [row.run.label for row in turned.rows] == ["good", "bad"]  # by score, whichever was named first
    assert verdicts(turned)[0].startswith("higher than bad (95 % interval +0.")
    assert turned.rows[0].comparison.difference.low == pytest.approx(-other.difference.high)


def test_several_comparisons_are_adjusted(write_run, registries):
    """Six cases give p = 1/32 at best: shown alone, not as one of two."""
    paths = [write_run("a", flipped=0, cases=6), write_run("b", flipped=0.3, cases=6, seed=1)]
    alone = compare(paths, registries)
    assert verdicts(alone)[0].startswith("lower than a") and "p = 0.031" in verdicts(alone)[0]
    table = compare([*paths, write_run("c", flipped=0.31, cases=6, seed=2)], registries)
    impossible = "no difference shown: 6 cases and 2 comparisons can show none, however different the runs are"
    needed = "(the smallest possible p is 0.062; compare fewer runs, or 7 cases)"
    assert all(text.startswith(impossible) and needed in text for text in verdicts(table))
    assert [row.comparison.adjusted for row in others(table)] == pytest.approx([2 / 32] * 2)
    assert any("adjusted for 2 comparisons (Holm)" in note for note in table.notes)


def test_runs_with_few_cases_in_common(write_run, registries):
    first = write_run("a", cases=8)
    table = compare([first, write_run("b", cases=8, first=5), write_run("c", cases=3, first=20)], registries)
    some, none = verdicts(table)
    assert some.startswith("no difference shown: 3 cases can show none (the smallest possible p is 0.25; 6 cases")
    assert none == "no difference shown: the two runs scored no case in common"
    assert math.isnan(named(table, "c").interval.low) and not math.isnan(named(table, "a").interval.low)
    notes = "\n".join(table.notes)
    assert "b is compared with a on the 5 scans that both scored with the same slices (a scored 12, b 12)" in notes
    assert (
        "c is compared with a on the 0 scans" in notes
        and "fewer than 6 cases there is no interval and no test" in notes
    )


@pytest.mark.slow
def test_a_difference_is_taken_on_the_common_cases(write_run, registries):
    table = compare([write_run("a", cases=12), write_run("b", cases=12, first=4, seed=1)], registries)
    same = compare([write_run("c", cases=8, first=4), write_run("d", cases=8, first=4, seed=1)], registries)
    some, whole = named(table, "b").comparison, named(same, "d").comparison
    assert (some.cases, some.score, some.first_score) == (8, whole.score, whole.first_score)
    assert (some.difference, some.p) == (whole.difference, whole.p)
    assert some.score != named(table, "b").interval.estimate


def test_an_undefined_score_is_no_verdict(write_run, registries, tmp_path):
    paths = [write_run(name, flipped=0, classes=("only",), slices=1) for name in ("a", "b")]  # the truth is empty
    table = compare(paths, registries)
    assert math.isnan(table.rows[0].interval.estimate)
    assert verdicts(table) == ["no difference shown: too few of the cases have a value"]
    assert table.as_dict()["runs"][1]["comparison"]["difference"] is None


def test_one_run_is_a_table_without_comparison(write_run, giseg):
    out = giseg("compare", write_run("only"))
    assert len(out.splitlines()) == 4 and "no difference" not in out and "note" not in out


def test_the_printed_table_is_aligned_however_long_a_name_is(write_run, giseg):
    name = "a-run-with-a-name-that-is-much-longer-than-any-column-of-the-table-could-ever-be"
    out = giseg("compare", write_run("a"), write_run(name, flipped=0.4, seed=1), write_run("few", cases=2))
    lines = out.splitlines()
    assert lines[0] == ("uwmgi_score with its 95 % interval over cases; higher is better; hausdorff: lower is better")
    assert "both empty skipped" in lines[1]
    header, *rows = lines[2:6]
    assert " ".join(header.split()) == "score interval dice hausdorff liver spleen cases parameters training memory run"
    assert sorted(row[header.index("run") :] for row in rows) == ["a", name, "few"]
    scores = [float(row[header.index("score") - 1 :].split()[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {row.index("6.25 M") for row in rows} == {header.index("parameters")}
    assert any(line.startswith(f"3 {name}, -0.") and "lower than a (95 % interval" in line for line in lines)
    assert any("few, +0.0000: no difference shown: 2 cases can show none" in line for line in lines)
    assert "each is compared with a, which was named first; the table is sorted by score" in lines


def test_json_and_csv_hold_every_number(write_run, giseg):
    paths = [write_run("a"), write_run("b", flipped=0.3, seed=1), write_run("few", cases=2)]
    content = json.loads(giseg("compare", *paths, "--json", "--resamples", 999))
    first, second, few = (next(run for run in content["runs"] if run["name"] == name) for name in ("a", "b", "few"))
    assert content["metric"] == "uwmgi_score" and content["resamples"] == 999 and content["level"] == 0.95
    assert first["comparison"] is None and first["seconds"] is None and first["peak_memory"] is None
    assert first["low"] < first["score"] < first["high"] and first["cases"] == 8
    assert (first["parameters"], first["trainable_parameters"]) == (6_250_000, 6_000_000)
    assert first["score"] == pytest.approx(0.4 * first["parts"]["dice"] + 0.6 * (1 - first["parts"]["hausdorff"]))
    assert second["comparison"]["difference"] == pytest.approx(second["score"] - first["score"])
    assert second["comparison"]["high"] < 0 and second["comparison"]["p"] == pytest.approx(2 / 2**8)
    assert few["low"] is None and few["comparison"]["p"] is None
    rows = list(csv.DictReader(io.StringIO(giseg("compare", *paths, "--csv", "--resamples", 999))))
    found = {row["run"]: row for row in rows}
    a, b, c = (found[str(path)] for path in paths)
    assert float(b["comparison/difference"]) == second["comparison"]["difference"]
    assert a["comparison/p"] == "" and c["low"] == "" and a["metric"] == "uwmgi_score"
    assert float(a["classes/liver"]) == first["classes"]["liver"]
    assert [float(row["score"]) for row in rows] == sorted((float(row["score"]) for row in rows), reverse=True)


def test_another_metric(write_run, giseg):
    paths = [write_run("a"), write_run("b", flipped=0.3, seed=1)]
    out = giseg("compare", *paths, "--metric", "dice")
    assert out.startswith("dice with its 95 % interval") and "hausdorff" not in out
    assert "lower than a" in out


def test_demo_runs_say_so(write_run, giseg):
    out = giseg("compare", write_run("a", demo=True), write_run("b", demo=True, seed=1))
    assert out.startswith("DEMO on phantoms, not real data: uwmgi_score")
    assert out.count("(demo)") == 2


def test_what_makes_numbers_misleading_is_noted(write_run, registries):
    training = {"epochs": 1, "seconds": 1.0, "peak_memory": None, "device": "cuda"}
    whole = write_run("whole", part="all labelled", trained_on=3, training=training)
    some = write_run("some", slices=3, expected=412, changes=["evaluate.threshold: 0.5 -> 0.2"])
    paths = [write_run("a", recipe='[model]\nname = "unet"'), whole, some]
    notes = "\n".join(compare(paths, registries).notes)
    assert "whole was scored on 3 slices that it also trained on" in notes
    assert "whole was scored on all labelled slices, not on its validation slices" in notes
    assert "some was scored on only 1 of its 412 validation slices" in notes
    assert "some was evaluated with other settings than it was trained with: evaluate.threshold: 0.5 -> 0.2." in notes
    assert "different devices" in notes
    early = write_run("early", recipe="[train]\nepochs = 40", training={**training, "epochs": 4})
    assert "early was evaluated after 4 of at most 40 epochs" in "\n".join(compare([early], registries).notes)
    assert "nothing but the seed" not in notes


# --- what was really used -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipes", "weights", "note"),
    [
        (("[evaluate]\nthreshold = 0.5", "[evaluate]\nthreshold = 0.2"), "one",
         "What differs from a to b (the same weights): evaluate.threshold: 0.5 -> 0.2."),
        (("[optimizer]\nlr = 0.1", "[optimizer]\nlr = 0.2"), "", "What differs from a to b: optimizer.lr: 0.1 -> 0.2."),
        (("", ""), "one", "a and b are the same weights, evaluated with the same settings."),
        (("", ""), "", "do not differ, not even in the seed"),
        (("[train]\nworkers = 0", "[train]\nworkers = 2"), "", "do not differ, not even in the seed"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_what_differs_is_said_in_words(write_run, registries, recipes, weights, note):
    """``seed = 0`` stands in both."""
    paths = [write_run(name, recipe=text, weights=weights) for name, text in zip("ab", recipes, strict=True)]
    notes = "\n".join(compare(paths, registries).notes)
    assert note in notes and "luck of training" not in notes


@pytest.mark.slow
def test_an_evaluation_with_other_settings_is_compared_as_what_it_is(finished, registries, session, giseg, tmp_path):
    """The recipe of the run's folder does not count: what was really used does."""
    path = Path(shutil.copytree(finished[0].path, tmp_path / "copied"))
    result = evaluate(*session.open_run(path, overrides=["evaluate.threshold=0.9"]))
    out = giseg("compare", path, result.files.folder)
    assert f"copied/{result.files.folder.name}" in out
    assert "(the same weights): evaluate.threshold: 0.5 -> 0.9." in out
    assert "was evaluated with other settings than it was trained with: evaluate.threshold: 0.5 -> 0.9" in out
    assert "luck of training" not in out


def test_a_run_with_other_evaluations_only_names_them(write_run, giseg):
    path = write_run("a")
    (path / "evaluation").rename(path / "evaluation-12345678")
    assert "evaluation-12345678" in giseg("compare", path, code=2)
    assert "uwmgi_score" in giseg("compare", path / "evaluation-12345678")


# --- bounds and directions ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_interval_leaves_the_bounds_of_its_score(write_run, registries):
    """Almost right and almost wrong predictions, few cases: without the bounds some intervals would leave them."""
    beyond = 0
    for flipped in (0.004, 0.02, 0.98, 0.996):
        path = write_run(f"a{flipped}", flipped=flipped, cases=7)
        for metric in ("dice", "uwmgi_score"):
            (row,) = compare([path], registries, metric=metric).rows
            low, high = row.interval.low, row.interval.high
            assert math.isnan(low) or 0 <= low <= row.interval.estimate <= high <= 1
            free = bootstrap_interval(
                case_sums(row.run, metric, registries["metric"].get(metric).load()().combine),
                resamples=9999,
                rng=np.random.default_rng(0),
            )
            beyond += free.low < 0 or free.high > 1
    assert beyond
    wide = within(Interval(0.001, -0.2, 1.3), 0.0, 1.0)
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert within(Interval(3.0, -1.0, 7.0), 0.0, math.inf) == Interval(3.0, 0.0, 7.0)
    assert math.isnan(within(Interval(0.5, math.nan, math.nan), 0.0, 1.0).low)


def test_where_lower_is_better_the_lowest_is_first(write_run, registries, giseg):
    class Error(Dice):
        higher_is_better = False

        def combine(self, means):
            return 1 - means["dice"]

    metrics = {"dice": Error()}
    paths = [write_run("bad", flipped=0.3, metrics=metrics), write_run("good", flipped=0.05, metrics=metrics)]
    registries = {"metric": Stub(Error)}
    assert [row.run.label for row in compare(paths, registries, metric="dice").rows] == ["good", "bad"]


class Stub:
    """A registry that gives one class."""

    def __init__(self, given):
        self.given = given

    def get(self, name):
        return self

    def load(self):
        return self.given


def test_runs_of_one_folder_name_are_told_apart(write_run, registries, tmp_path):
    paths = [write_run("one/run"), write_run("two/run", seed=1)]
    assert sorted(row.run.label for row in compare(paths, registries).rows) == sorted(map(str, paths))


@pytest.mark.slow
def test_the_result_depends_on_nothing_but_runs_and_seed(write_run, registries):
    paths = [write_run("a"), write_run("b", seed=1)]
    once, again = compare(paths, registries).as_dict(), compare(paths, registries).as_dict()
    assert once == again
    assert compare(paths, registries, seed=1).as_dict()["runs"][0]["low"] != once["runs"][0]["low"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUNS"),
        (["nowhere"], "not a run folder"),
        (["a", "--resamples", "10"], "999"),
        (["a", "--json", "--csv"], "exclude one another"),
        (["a", "--metric", "uwmgi"], "did you mean 'uwmgi_score'?"),
    ],
)
def test_mistakes_are_answered_in_words(write_run, giseg, tmp_path, monkeypatch, arguments, message):
    write_run("a")
    monkeypatch.chdir(tmp_path)
    assert message in giseg("compare", *arguments, code=2)


def test_runs_with_classes_in_another_order_have_each_score_under_its_class(write_run, registries, giseg):
    first = write_run("first", flipped=0.1)
    turned = write_run("turned", flipped=0.3, seed=1)
    for name in ("by_slice.csv", "by_scan.csv"):
        rows = pd.read_csv(turned / "evaluation" / name, dtype=str, keep_default_na=False)
        rows.sort_values("class", ascending=False, kind="stable").to_csv(turned / "evaluation" / name, index=False)
    scores = compare([turned], registries, metric="dice").rows[0].by_class
    assert list(scores) == ["spleen", "liver"] and scores["spleen"] != scores["liver"]
    lines = giseg("compare", first, turned, "--metric", "dice").splitlines()
    (header,) = [line.split() for line in lines if "liver" in line and "spleen" in line and "score" in line]
    assert header.index("liver") + 1 == header.index("spleen")
    (row,) = [line for line in lines if line.split()[-1:] == ["turned"]]
    assert f"{scores['liver']:.4f}  {scores['spleen']:.4f}" in row


def test_a_metric_twice_is_compared_under_its_name(write_run, registries, giseg):
    recipe = "[[metric]]\nname = 'dice'\n[[metric]]\nname = 'dice'\nas = 'dice_scan'\nunit = 'scan'\n"
    metrics = {"dice": Dice(), "dice_scan": Dice(unit="scan")}
    paths = [write_run(name, seed=seed, metrics=metrics, recipe=recipe) for name, seed in (("a", 1), ("b", 2))]
    by_slice, by_scan = (compare(paths, registries, metric=name) for name in ("dice", "dice_scan"))
    assert (by_slice.metric, by_scan.metric) == ("dice", "dice_scan")
    assert by_slice.convention != by_scan.convention
    assert [row.interval.estimate for row in by_slice.rows] != [row.interval.estimate for row in by_scan.rows]
    assert "dice_scan with its 95 % interval" in giseg("compare", *map(str, paths), "--metric", "dice_scan")


def test_runs_that_differ_in_two_of_nine_cases_have_no_interval_and_the_verdict_says_why():
    first = np.full(9, 0.5)
    second = first + np.array([0.1, 0.05, 0, 0, 0, 0, 0, 0, 0])
    runs = [CaseSums(("x",), values[None], np.ones((1, 9)), lambda means: means["x"]) for values in (first, second)]
    found = paired(*runs, 999, 0, (0, 1))
    assert found.difference.estimate == pytest.approx(0.15 / 9)
    assert math.isnan(found.difference.low)
    said = verdict(found, "a", least=0.01, comparisons=1)
    assert said == "no difference shown: in too few of the 9 cases the runs differ and have a value"
