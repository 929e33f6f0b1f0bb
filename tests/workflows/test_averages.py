"""A run that deploys averaged weights: what is kept, resumed, evaluated, and started from."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from gisegkit.errors import RunError
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.memory import DeviceSpec, memory_lines
from gisegkit.workflows.train import epochs, train

pytestmark = pytest.mark.slow  # whole trainings or processes

FEW = ("train.validate_every=3", "dataset.days=1")
EMA = ("train.average=ema", "train.ema_decay=0.9", *FEW)
CYCLES = (
    "train.average=swa",
    "train.swa_batches=2",
    "schedule.name=cycles",
    "schedule.flat=0.25",
    "schedule.cycles=2",
    *FEW,
)
SWA = ("train.average=swa", "train.swa_start=0.4", "train.swa_batches=2", *FEW)


AVERAGES = {"ema": EMA, "swa": SWA, "cycles": CYCLES}


def content(run, name):
    return torch.load(run.path / name, weights_only=True)


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def runs(home, session, recipe):
    """A run with each average, made once."""
    return {name: train(session.experiment(recipe(*sets)), home / name) for name, sets in AVERAGES.items()}


def lines_of(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["ema", "swa"])
def test_what_was_validated_is_what_is_kept_and_evaluated(session, runs, finished, name):
    run, plain = runs[name], finished[0]
    assert same(content(run, "last.pt")["model"], content(plain, "last.pt")["model"]), "training itself is the same"
    best, last = content(run, "best.pt"), content(run, "last.pt")
    if best["epoch"] == last["epoch"]:
        assert same(best["model"], last["average"]["weights"])
    assert not same(last["model"], last["average"]["weights"])
    folder, experiment = session.open_run(run.path, command="evaluate")
    scores = evaluate(folder, experiment).scores["scores"]
    validated = lines_of(run)[best["epoch"] - 1]["scores"]
    assert {key: value for key, value in validated.items() if value is not None} == pytest.approx(
        {key: value for key, value in scores.items() if not math.isnan(value)}
    )


@pytest.mark.parametrize(("name", "stop"), [("ema", 2), ("swa", 1), ("swa", 2), ("cycles", 1), ("cycles", 2)])
def test_it_resumes_to_the_last_bit(tmp_path, session, recipe, runs, name, stop):
    out, sets = tmp_path / "run", AVERAGES[name]
    going = epochs(session.experiment(recipe(*sets)), out)
    list(itertools.islice(going, stop))
    going.close()
    resumed = train(session.experiment(recipe(*sets)), out, resume=True)
    for file in ("last.pt", "best.pt"):
        mine, whole = content(resumed, file), content(runs[name], file)
        assert same(mine["model"], whole["model"])
    assert same(content(resumed, "last.pt")["average"]["weights"], content(runs[name], "last.pt")["average"]["weights"])
    with pytest.raises(RunError, match=r"train\.average"):
        train(session.experiment(recipe()), out, resume=True)


@pytest.mark.parametrize("sets", [("train.workers=2", "input.store=off"), ("train.micro_batch=4",)])
def test_workers_and_the_store_change_nothing_and_statistics_come_in_micro_batches(
    tmp_path, session, recipe, runs, sets
):
    other = train(session.experiment(recipe(*SWA, *sets)), tmp_path / "run")
    mine, whole = content(other, "last.pt")["average"], content(runs["swa"], "last.pt")["average"]
    assert mine["count"] == whole["count"] == 2
    seen = {name: value.item() for name, value in mine["weights"].items() if name.endswith("num_batches_tracked")}
    assert set(seen.values()) == {4 if "train.micro_batch=4" in sets else 2}, "batches of 8 for the statistics"
    assert same(mine["weights"], whole["weights"]) != ("train.micro_batch=4" in sets)


def test_slices_on_the_device_give_the_same_statistics(tmp_path, session, recipe):
    sets = (*SWA, "augmentation.name=none", "batch_transform=[]")
    kept = [
        content(train(session.experiment(recipe(*sets, f"input.store={store}")), tmp_path / store), "last.pt")
        for store in ("device", "resized")
    ]
    assert same(kept[0]["average"]["weights"], kept[1]["average"]["weights"])


def test_best_is_made_again_of_the_average(tmp_path, session, recipe, runs):
    out = tmp_path / "run"
    going = epochs(session.experiment(recipe(*EMA[:2])), out)
    (report,) = itertools.islice(going, 1)
    deployed = {name: value.clone() for name, value in report.weights.items()}
    going.close()
    (out / "best.pt").unlink()
    going = epochs(session.experiment(recipe(*EMA[:2])), out, resume=True)
    next(going)
    going.close()
    best = content(type(runs["ema"])(out), "best.pt")
    assert best["epoch"] == 2 or same(best["model"], deployed)


def test_another_run_starts_from_the_weights_to_deploy(session, recipe, runs):
    experiment = session.experiment(recipe(f"train.init_from={runs['ema'].path}"))
    assert same(dict(experiment.model.state_dict()), content(runs["ema"], "best.pt")["model"])


@pytest.mark.parametrize("sets", [EMA, SWA])
def test_the_copy_is_counted_in_the_plan(session, recipe, sets):
    lines = list(memory_lines(session.experiment(recipe(*sets)), DeviceSpec(2**30)))
    plain = list(memory_lines(session.experiment(recipe()), DeviceSpec(2**30)))
    (line,) = [line for line in lines if line.startswith("  average")]
    parameters = next(line for line in plain if line.startswith("  parameters"))
    assert "a second copy of weights and running statistics" in line
    assert line.split()[2] == parameters.split()[2] and not any(line.startswith("  average") for line in plain)
