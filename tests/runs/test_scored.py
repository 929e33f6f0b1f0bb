"""Evaluated run folders: the scoreboard's own scores out of the tables, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
import tomllib

import pandas as pd
import pytest

from gisegkit.components.metrics.overlap_metrics import Dice, UWMGIScore
from gisegkit.errors import ComponentError, RunError
from gisegkit.runs.scored import (
    case_sums,
    check_comparable,
    check_sums,
    combiner,
    common_scans,
    read_run,
    score_sums,
    shared_metric,
)


@pytest.fixture
def read(write_run):
    """A simulated run, read."""

    def read(name, **options):
        return read_run(write_run(name, **options), name)

    return read


def combine(metric="uwmgi_score"):
    return (UWMGIScore() if metric == "uwmgi_score" else Dice()).combine


@pytest.mark.parametrize("metric", ["uwmgi_score", "dice"])
def test_the_score_of_all_cases_is_that_of_the_scoreboard(read, metric):
    run = read("a", cases=7)
    sums = case_sums(run, metric, combine(metric))
    assert sums.cases == 7
    assert sums.score() == pytest.approx(run.content["scores"][metric], abs=1e-14)
    check_sums(run, metric, sums)


@pytest.mark.parametrize(
    "metric", [UWMGIScore(hausdorff_unit="slice"), UWMGIScore(hausdorff_classes="merged"), Dice(unit="scan")]
)
def test_whatever_the_unit(read, metric):
    run = read("a", metrics={"m": metric})
    assert case_sums(run, "m", metric.combine).score() == pytest.approx(run.content["scores"]["m"], abs=1e-14)


def test_a_class_or_a_part_of_a_metric_by_case_too(read, shipped):
    run = read("a", cases=3)
    for score in ("dice", "dice/liver", "uwmgi_score/hausdorff"):
        assert score_sums(run, score, shipped).score() == pytest.approx(run.content["scores"][score], abs=1e-14)


@pytest.mark.slow
def test_of_a_real_run_too(finished):
    run, scores = finished
    found = read_run(run.path, "finished")
    for metric in ("uwmgi_score", "dice"):
        assert case_sums(found, metric, combine(metric)).score() == pytest.approx(scores["scores"][metric], abs=1e-14)
    assert found.classes == ("large_bowel", "small_bowel", "stomach")
    assert found.seconds == pytest.approx(sum(entry["seconds"] for entry in run.metrics()))
    assert found.recipe == tomllib.loads(run.recipe.read_text())
    assert found.peak_memory and found.peak_memory > 2**26
    assert found.device.startswith("cpu") and found.seen == 0
    import torch

    weights = torch.load(run.path / "best.pt", weights_only=True)["model"]
    learned = {key: value for key, value in weights.items() if "running_" not in key and "num_batches" not in key}
    assert scores["parameters"] == scores["trainable_parameters"] == sum(value.numel() for value in learned.values())


def test_cases_are_made_of_all_their_scans(read):
    run = read("a", cases=3)
    sums = case_sums(run, "dice", combine("dice"))
    scores = run.slices.groupby("case")["dice"].agg(["sum", "count"])
    assert run.slices.groupby("case")["scan"].nunique().tolist() == [1, 2, 1]
    assert sums.sums[0].tolist() == pytest.approx(scores["sum"].tolist())
    assert sums.counts[0].tolist() == scores["count"].tolist()


def test_everything_comes_from_the_evaluation_nothing_from_files_beside_it(write_run):
    training = {"epochs": 2, "seconds": 4.0, "peak_memory": 300, "device": "cuda"}
    path = write_run("a", training=training, trained_on=1, recipe="x = 1")
    for name in ("recipe.toml", "environment.json"):
        (path / name).write_text("damaged = [")
    run = read_run(path, "a")
    assert (run.seconds, run.peak_memory, run.device, run.seen) == (4.0, 300, "cuda", 1)
    assert run.recipe == {"seed": 0, "x": 1}
    (path / "evaluation" / "recipe.toml").write_text("damaged = [")
    with pytest.raises(RunError, match="what was evaluated is not known; run: giseg evaluate"):
        read_run(path, "a")


def test_names_that_look_like_numbers_or_gaps_stay_text(write_run):
    path = write_run("a")
    for name in ("by_slice", "by_scan"):
        file = path / "evaluation" / f"{name}.csv"
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table["case"] = table["case"].replace({"c0": "007", "c1": "NA"})
        table.to_csv(file, index=False)
    assert {"007", "NA"} <= set(read_run(path, "a").slices["case"])


# --- errors ---------------------------------------------------------------------------------------------------------


def test_no_run_and_no_evaluation(tmp_path, write_run):
    with pytest.raises(RunError, match="not a run folder"):
        read_run(tmp_path / "nowhere", "nowhere")
    path = write_run("a")
    (path / "evaluation" / "by_scan.csv").unlink()
    with pytest.raises(RunError, match=r"has no by_scan.csv; run: giseg evaluate"):
        read_run(path, "a")
    shutil.rmtree(path / "evaluation")
    with pytest.raises(RunError, match=r"no evaluation/scores.json.*run: giseg evaluate"):
        read_run(path, "a")


def test_an_older_evaluation_is_told_the_remedy(write_run):
    path = write_run("a")
    file = path / "evaluation" / "by_slice.csv"
    pd.read_csv(file).drop(columns="case").to_csv(file, index=False)
    with pytest.raises(RunError, match=r"no column case.*older gisegkit.*giseg evaluate"):
        read_run(path, "a")


def test_tables_and_scores_of_two_evaluations_are_noticed(write_run):
    path = write_run("a")
    file = path / "evaluation" / "scores.json"
    content = json.loads(file.read_text())
    content["scores"]["dice"] += 1e-6
    file.write_text(json.dumps(content))
    run = read_run(path, "a")
    with pytest.raises(RunError, match=r"says dice = .*its tables say"):
        check_sums(run, "dice", case_sums(run, "dice", combine("dice")))


def test_the_metric_is_one_that_all_have(read):
    both, one = read("a"), read("b", metrics={"dice": Dice()})
    assert shared_metric([both], None) == "uwmgi_score"
    assert shared_metric([both, one], None) == "dice"
    assert shared_metric([both], "dice") == "dice"
    with pytest.raises(RunError, match=r"no metric 'dise'.*did you mean 'dice'"):
        shared_metric([both, one], "dise")
    with pytest.raises(RunError, match="no metric in common"):
        shared_metric([one, read("c", metrics={"uwmgi_score": UWMGIScore()})], None)


def test_the_metric_is_built_as_the_recipe_says(read, registries):
    recipe = '[[metric]]\nname = "dice"\nunit = "scan"\n'
    assert combiner(read("a", recipe=recipe), "dice", registries)({"dice": 0.3}) == 0.3
    with pytest.raises(ComponentError, match="no metric 'gone'"):
        combiner(read("b", metrics={"gone": Dice()}), "gone", registries)


def test_runs_that_were_not_scored_alike_are_refused(read):
    first = read("a")
    other = read("b", metrics={"uwmgi_score": UWMGIScore(dice_empty="one"), "dice": Dice()})
    check_comparable(first, other, "dice")
    with pytest.raises(RunError, match=r"another convention in each[\s\S]*both empty skipped[\s\S]*both empty 1"):
        check_comparable(first, other, "uwmgi_score")
    with pytest.raises(RunError, match="the classes of a are liver, spleen, those of c liver, kidney"):
        check_comparable(first, read("c", classes=("liver", "kidney")), "dice")
    with pytest.raises(RunError, match="d is a demo"):
        check_comparable(first, read("d", demo=True), "dice")


def test_the_same_names_with_another_truth_are_other_data(read):
    with pytest.raises(RunError, match=r"different data\. In a, slice c0_d0_\d .*true pixels"):
        common_scans(read("a"), read("b", truth_seed=8))


def test_common_scans_have_the_same_slices(read):
    first, shifted, longer = read("a", cases=4), read("b", cases=4, first=2), read("c", cases=4)
    assert common_scans(first, shifted) == {"c2_d0", "c3_d0", "c3_d1"}
    assert common_scans(first, read("d", cases=2, first=9)) == set()
    fewer = longer.slices[longer.slices["id"] != "c1_d0_2"]
    object.__setattr__(longer, "slices", fewer)
    assert common_scans(first, longer) == {"c0_d0", "c1_d1", "c2_d0", "c3_d0", "c3_d1"}
