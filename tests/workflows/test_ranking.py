"""The ranking of a plan: settings, not runs; seeds are averaged case by case; what fails is told and not ranked."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest

from gisegkit.engine.bootstrap import paired_test
from gisegkit.errors import RunError
from gisegkit.runs.scored import case_sums, combiner, read_run
from gisegkit.types import JobEnd
from gisegkit.workflows.plan import run_plan
from gisegkit.workflows.plan_page import CSV, PAGE, evaluated_settings, rank_plan, write_page
from gisegkit.workflows.ranking import mean_over_seeds, rank
from gisegkit.workflows.ranking_table import as_rows

LOSSES = """
[[run]]
name = "n"
recipe = "{recipe}"
seeds = [0, 1]
folds = [0, 1]
[run.vary]
"loss.0.name" = ["bce", "dice", "jaccard"]
"""

EVERY = [f"n-{loss}-seed{seed}" for loss in ("bce", "dice", "jaccard") for seed in (0, 1)]


@pytest.fixture(scope="module")
def swept(several, folds_run, tmp_path_factory):
    """Fills the folder of a job with the scores of a run in folds, out of fold, times the factor of its loss.

    With ``factor``, every score is that number. Each case has a factor of its own besides, from 0.9 to 1, by seed.
    """

    def fill(job, cluster, factor=None):
        folder = cluster.folder(job)
        for part in ("evaluation", "predictions"):
            shutil.copytree(folds_run[0].path / part, folder / part, dirs_exist_ok=True)
        sets = cluster.sets(job)
        recipe = several.recipe("split.folds=3", "train.epochs=2", *sets)
        for place in (folder, folder / "evaluation"):
            (place / "recipe.toml").write_text(recipe.text())
        table = pd.read_csv(folder / "evaluation" / "by_slice.csv", dtype={"case": str, "id": str, "scan": str})
        rng = np.random.default_rng(int(job.name[-1]))
        factors = {case: rng.uniform(0.9, 1.0) for case in table["case"].unique()}
        worse = {"bce": 1.0, "dice": 0.5, "jaccard": 0.8}[job.name.split("-")[1]]
        own = table["dice"] * worse if factor is None else table["dice"].where(table["dice"].isna(), factor)
        table["dice"] = own * table["case"].map(factors)
        table.to_csv(folder / "evaluation" / "by_slice.csv", index=False)
        file = folder / "evaluation" / "scores.json"
        content, run = json.loads(file.read_text()), read_run(folder, "x")
        content["scores"]["dice"] = case_sums(run, "dice", combiner(run, "dice", several.plugins.registries)).score()
        file.write_text(json.dumps(content))
        return JobEnd(0)

    return fill


@pytest.mark.slow
def test_a_sweep_of_losses_seeds_and_folds_with_a_cell_that_fails(cluster, open_, swept):
    """3 losses x 2 seeds, each in 2 folds: the ranking, the cause of the failed one, and the rest is done."""

    def fate(job, number):
        if job.name == "n-dice-seed1":
            with open(job.log, "a") as file:
                file.write("error: node 7 has no disk left\n")
            return JobEnd(1)
        return swept(job, cluster)

    lines, first = [], cluster(fate, 2)
    ran = run_plan(open_(text=LOSSES), first, say=lines.append)
    assert first.submitted == EVERY and first.most == 2
    assert [name for name, state in ran.states.items() if state.word == "done"] == [
        name for name in EVERY if name != "n-dice-seed1"
    ]
    assert any("n-dice-seed1: failed" in line and "node 7 has no disk left" in line for line in lines)
    work = open_(text=LOSSES)
    found = rank_plan(work, work.states())
    assert [row.name for row in found.rows] == ["n-bce", "n-jaccard", "n-dice"] and found.first == "n-bce"
    assert [len(row.runs) for row in found.rows] == [2, 2, 1] and found.rows[2].planned == 2
    assert found.rows[1].differences == ("loss.0.name: bce -> jaccard",) or "jaccard" in found.rows[1].differences[0]
    assert not any("seed" in item for row in found.rows for item in row.differences)
    assert "n-dice has 1 of its 2 seeds; the others are not done." in found.notes
    page = write_page(work, work.states(), found).read_text()
    for text in ("n-bce (first)", "node 7 has no disk left", "1 of 2", "loss.0.name"):
        assert text in page
    table = pd.read_csv(work.folder / CSV)
    assert list(table["setting"]) == ["n-bce", "n-jaccard", "n-dice"] and list(table["seeds"]) == [2, 2, 1]
    again = cluster(lambda job, number: swept(job, cluster))
    assert run_plan(open_(text=LOSSES), again, say=lines.append).complete and again.submitted == ["n-dice-seed1"]
    work = open_(text=LOSSES)
    assert [len(row.runs) for row in rank_plan(work, work.states()).rows] == [2, 2, 2]


@pytest.fixture
def pair(cluster, open_, swept):
    """A finished sweep, and its settings."""
    work = open_(text=LOSSES)
    assert run_plan(work, cluster(lambda job, number: swept(job, cluster)), say=lambda line: None).complete
    return work, evaluated_settings(work, work.states())


@pytest.mark.slow
def test_a_case_counts_with_its_mean_over_the_seeds(pair, several):
    """Against means that pandas makes of the tables, and the paired test of these means."""
    work, (settings, planned) = pair
    assert {name: len(paths) for name, paths in settings.items()} == planned
    found = rank(settings, work.registries, planned=planned, resamples=999)
    means = {}
    for row in found.rows:
        tables = [pd.read_csv(run.path / "evaluation" / "by_slice.csv") for run in row.runs]
        by_case = pd.concat(tables).groupby("case")["dice"].mean()  # each case has the same slices in both seeds
        means[row.name] = by_case
        alone = [table["dice"].mean() for table in tables]
        assert row.seeds == pytest.approx(tuple(alone)) and row.spread == (min(row.seeds), max(row.seeds))
        assert row.interval.estimate == pytest.approx(pd.concat(tables)["dice"].mean())
        assert row.interval.estimate == pytest.approx(sum(alone) / 2)
    first, other = (next(row for row in found.rows if row.name == name) for name in ("n-bce", "n-dice"))
    assert other.comparison.difference.estimate == pytest.approx(means["n-dice"].mean() - means["n-bce"].mean())
    combine = combiner(first.runs[0], "dice", work.registries)
    sums = [mean_over_seeds(row.runs, "dice", combine) for row in (first, other)]
    p = paired_test(*sums, resamples=999, rng=np.random.default_rng(0))
    assert other.comparison.p == p
    assert other.comparison.adjusted == min(1.0, 2 * p)  # Holm, of two comparisons, the smaller p or equal ones
    assert other.comparison.verdict.startswith("no difference shown: 6 cases and 2 comparisons can show none")


@pytest.mark.slow
def test_rows_that_cannot_be_compared_say_why_and_keep_their_score(pair):
    work, (settings, planned) = pair
    for path in settings["n-dice"]:
        file = path / "evaluation" / "by_slice.csv"
        table = pd.read_csv(file, dtype={"case": str, "id": str, "scan": str})
        table["true_pixels"] += 1
        table.to_csv(file, index=False)
    found = rank(settings, work.registries, planned=planned, resamples=999)
    row = next(row for row in found.rows if row.name == "n-dice")
    assert row.comparison is None and "they were scored on different data" in row.unlike
    assert row.interval.estimate > 0


@pytest.mark.slow
def test_a_score_that_its_tables_do_not_give_is_refused(pair):
    work, (settings, planned) = pair
    file = settings["n-bce"][0] / "evaluation" / "scores.json"
    content = json.loads(file.read_text())
    content["scores"]["dice"] += 0.1
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match="its tables say"):
        rank(settings, work.registries, planned=planned)
    text = rank_plan(work, work.states())
    assert "its tables say" in text
    page = write_page(work, work.states(), text)
    assert page.name == PAGE and "its tables say" in page.read_text() and not (work.folder / CSV).exists()


def test_without_a_run_there_is_no_ranking(open_):
    work = open_()
    work.folder.mkdir()
    text = rank_plan(work, work.states())
    assert text == "no run is evaluated yet" and text in write_page(work, work.states(), text).read_text()
    with pytest.raises(RunError, match="nothing to rank"):
        rank({}, work.registries, planned={})


@pytest.mark.slow
def test_a_lower_score_is_better_where_the_metric_says_so(pair):
    work, (settings, planned) = pair
    for paths in settings.values():
        for path in paths:
            file = path / "evaluation" / "scores.json"
            content = json.loads(file.read_text())
            content["higher_is_better"]["dice"] = False
            file.write_text(json.dumps(content))
    found = rank(settings, work.registries, planned=planned, resamples=999)
    assert not found.higher and [row.name for row in found.rows] == ["n-dice", "n-jaccard", "n-bce"]
    assert all(math.isfinite(row.interval.estimate) for row in found.rows)


TWO = LOSSES.replace(', "jaccard"', "")


def ranked(open_, cluster, swept, factors, text=TWO):
    """The ranking of a sweep in which each run has a factor of its own."""
    work = open_(text=text)
    every = cluster(lambda job, number: swept(job, cluster, factors[job.name]))
    assert run_plan(work, every, say=lambda line: None).complete
    return rank_plan(work, work.states())


@pytest.mark.slow
def test_that_seeds_overlap_is_said_where_the_test_over_cases_sees_a_difference(cluster, open_, swept):
    """The mean of 0.7 and 1.0 is higher than that of 0.8 and 0.5 in every case; 0.7 is below 0.8."""
    factors = {"n-bce-seed0": 0.8, "n-bce-seed1": 0.5, "n-dice-seed0": 0.7, "n-dice-seed1": 1.0}
    found = ranked(open_, cluster, swept, factors)
    best = found.rows[0]
    assert best.name == "n-dice" and best.comparison.verdict.startswith("higher than n-bce (95 % interval")
    spreads = [f"{low:.4f} to {high:.4f}" for low, high in (best.spread, found.rows[1].spread)]
    assert best.comparison.verdict.endswith(f"; their seeds overlap ({spreads[0]}, and {spreads[1]})")
    (note,) = (note for note in found.notes if "best two" in note)
    assert note.startswith("The best two, n-dice and n-bce, cannot be told apart: higher than") and "overlap" in note


def test_folds_of_one_cell_each_count_as_one_run_of_their_seed(write_run, shipped):
    """Two seeds with two folds each, against runs of both folds; then one fold of one seed is missing."""
    whole = [write_run(f"w{seed}", seed=seed, recipe="split.fold = [0, 1]") for seed in (0, 1)]
    parts = [
        write_run(f"n-fold{fold}-seed{seed}", seed=seed, first=4 * fold, cases=4, recipe=f"split.fold = {fold}")
        for fold in (0, 1)
        for seed in (0, 1)
    ]
    planned = {"w": 2, "n": 2}
    found = rank({"w": whole, "n": parts}, shipped, planned=planned, metric="dice", resamples=999)
    first, other = sorted(found.rows, key=lambda row: row.name, reverse=True)
    assert (other.interval, other.seeds, other.cases) == (first.interval, first.seeds, 8)
    assert len(other.runs) == 2 and other.differences == () and not other.unlike
    assert as_rows(found)[found.rows.index(other)]["runs"].split() == [path.name for path in parts]
    fewer = rank({"w": whole, "n": parts[:3]}, shipped, planned=planned, metric="dice", resamples=999)
    row = next(row for row in fewer.rows if row.name == "n")
    assert row.cases == row.comparison.cases == 4
    assert any("seeds of n scored other scans" in note for note in fewer.notes)


@pytest.mark.slow
def test_nothing_is_said_of_seeds_that_do_not_overlap_and_of_two_that_can_be_told_apart(cluster, open_, swept):
    factors = {"n-bce-seed0": 0.6, "n-bce-seed1": 0.5, "n-dice-seed0": 0.9, "n-dice-seed1": 0.95}
    found = ranked(open_, cluster, swept, factors)
    assert found.rows[0].comparison.verdict.endswith(")") and "overlap" not in found.rows[0].comparison.verdict
    assert not any("told apart" in note for note in found.notes)


@pytest.mark.slow
def test_the_best_two_are_compared_also_where_neither_is_the_first(cluster, open_, swept):
    """Both are equal in every case."""
    factors = {name: 0.5 if "bce" in name else 0.9 for name in EVERY}
    found = ranked(open_, cluster, swept, factors, LOSSES)
    assert found.first == "n-bce" and {row.name for row in found.rows[:2]} == {"n-dice", "n-jaccard"}
    (note,) = (note for note in found.notes if "told apart" in note)
    assert "n-dice" in note and "n-jaccard" in note and "no difference shown" in note and "n-bce" not in note


@pytest.mark.slow
def test_a_setting_whose_score_is_undefined_stands_last_and_says_so(pair, capsys):
    """No case has a value, as where a class is never there."""
    from gisegkit.cli.plan import print_ranking

    work, (settings, _) = pair
    for path in settings["n-bce"]:  # the first, so that nothing can be compared with it
        file = path / "evaluation" / "by_slice.csv"
        table = pd.read_csv(file, dtype={"case": str, "id": str, "scan": str})
        table["dice"] = math.nan
        table.to_csv(file, index=False)
        content = json.loads((path / "evaluation" / "scores.json").read_text())
        content["scores"]["dice"] = None
        (path / "evaluation" / "scores.json").write_text(json.dumps(content))
    found = rank_plan(work, work.states())
    assert [row.name for row in found.rows] == ["n-jaccard", "n-dice", "n-bce"] and math.isnan(found.rows[-1].spread[0])
    assert all("no difference shown" in row.comparison.verdict for row in found.rows[:2])
    print_ranking(found)
    printed, page = capsys.readouterr().out, write_page(work, work.states(), found).read_text()
    assert "nan" not in printed and "nan" not in page.split("</style>")[1]
    assert "nan" not in (work.folder / CSV).read_text()
