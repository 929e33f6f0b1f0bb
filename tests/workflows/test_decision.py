"""The decision travels with the weights: written by training, used by evaluate, predict and load_run, changes said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gisegkit.data.rle import decode
from gisegkit.data.submission import read_submission
from gisegkit.errors import DataError, RecipeError, RunError
from gisegkit.runs.decision_file import StoredDecision
from gisegkit.workflows import api
from gisegkit.workflows.evaluate import evaluate
from gisegkit.workflows.predict import predict
from gisegkit.workflows.train import keep_decision, train

LOW = {"threshold": {"large_bowel": 0.5, "small_bowel": 0.5, "stomach": 0.1}}


def decide(folder, **content):
    """Change the run's decision.json."""
    file = folder / "decision.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | content))
    return file


def masks(experiment):
    """What is decided of the validation slices: pixels of each class."""
    rows = experiment.split.validation
    scans = experiment.scans(rows, label="x", progress=lambda items, *_: items)
    return sum(scan.prediction.sum((0, 1, 2)) for scan in scans)


def test_training_writes_what_the_recipe_says(finished, session):
    run, _ = finished
    stored = StoredDecision.read(run.decision)
    assert stored.classes == ("large_bowel", "small_bowel", "stomach") and not stored.exclusive
    assert set(stored.threshold.values()) == {0.5} and set(stored.presence.values()) == {0.0}
    assert [step["name"] for step in stored.postprocess] == ["min_area"]
    assert stored.presets(session.open_run(run.path)[1].recipe, run.decision) == []


@pytest.mark.slow
def test_another_file_counts_is_said_and_gets_a_folder_of_its_own(copied, talking, finished):
    session, lines = talking
    file = decide(copied, **LOW)
    run, experiment = session.open_run(copied)
    assert lines == [f"{file} differs from the run's recipe in evaluate.threshold; the file counts"]
    assert experiment.recipe.evaluate.threshold == LOW["threshold"] and experiment.decision.threshold == (0.5, 0.5, 0.1)
    done = evaluate(run, experiment)
    assert not done.own and done.scores["threshold"] == LOW["threshold"]
    assert done.scores["changes"] == [
        "evaluate.threshold: 0.5 -> {large_bowel = 0.5, small_bowel = 0.5, stomach = 0.1}"
    ]
    own = finished[1]["scores"]
    assert done.scores["scores"]["dice/large_bowel"] == own["dice/large_bowel"]
    assert done.scores["scores"]["dice/stomach"] != own["dice/stomach"]
    predicted = predict(run, experiment)
    assert not predicted.own and predicted.file != run.submission


@pytest.mark.slow
def test_an_override_counts_more_than_the_file(copied, session):
    _, plain = session.open_run(copied)
    expected = masks(plain)
    decide(copied, **LOW, presence=dict.fromkeys(LOW["threshold"], 1.0))
    _, experiment = session.open_run(copied, overrides=["evaluate.threshold=0.5", "evaluate.presence=0"])
    assert experiment.decision.threshold == (0.5,) * 3
    assert np.array_equal(masks(experiment), expected)
    assert not masks(session.open_run(copied)[1]).any()  # no probability reaches 1


def test_post_processing_of_the_file_can_be_changed_by_an_override(copied, session):
    steps = [
        {"name": "continuity", "fill": 2, "remove": 1},
        {"name": "min_area", "pixels": {"stomach": 9, "default": 1}},
    ]
    decide(copied, postprocess=steps)
    _, experiment = session.open_run(copied, overrides=["postprocess.1.pixels.stomach=5"])
    fill, pixels = experiment.postprocess
    assert (fill.fill(0), fill.remove(2)) == (2, 1) and [pixels.pixels(k) for k in range(3)] == [1, 1, 5]
    assert not any(map(bool, session.open_run(copied, overrides=["postprocess=[]"])[1].postprocess))


@pytest.mark.slow
def test_a_loaded_run_decides_as_the_file_says(copied, session, monkeypatch):
    monkeypatch.setattr(api, "installed", lambda: session.plugins)
    _, experiment = session.open_run(copied)
    images = [experiment.dataset.image(row) for row in range(3)]
    plain = api.load_run(copied, device="cpu").predict(images)
    decide(copied, **LOW)
    found = api.load_run(copied, device="cpu").predict(images)
    assert np.array_equal(found[..., :2], plain[..., :2]) and found[..., 2].sum() > plain[..., 2].sum()
    same = api.load_run(copied, device="cpu", overrides=("evaluate.threshold=0.5",)).predict(images)
    assert np.array_equal(same, plain)


@pytest.mark.slow
def test_without_the_file_the_recipe_decides(copied, talking, finished):
    session, lines = talking
    (copied / "decision.json").unlink()
    done = evaluate(*session.open_run(copied))
    assert done.own and lines == [] and done.scores["scores"] == finished[1]["scores"]


@pytest.mark.parametrize("command", [evaluate, predict])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"threshold": {"stomach": 0.5}}, "damaged"),
        ({"exclusive": True}, "is for the exclusive classes"),
        ({"classes": ["a"], "threshold": {"a": 0.5}, "presence": {"a": 0.0}}, "is for the independent classes a, the"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(copied, session, command, content, message):
    decide(copied, **content)
    with pytest.raises(RunError, match=message):
        command(*session.open_run(copied))


def test_a_step_of_the_file_that_there_is_not_names_the_file(copied, session):
    file = decide(copied, postprocess=[{"name": "min_aera", "pixels": 3}])
    with pytest.raises(RecipeError, match=rf"{file}: unknown postprocess 'min_aera'\n.*min_area"):
        session.open_run(copied)


def test_a_resumed_run_keeps_its_file_and_says_what_differs(copied, talking):
    session, lines = talking
    run, experiment = session.open_run(copied)
    before = run.decision.read_bytes()
    keep_decision(run, experiment)
    assert lines == [] and run.decision.read_bytes() == before
    file = decide(copied, **LOW)
    keep_decision(run, experiment)
    assert len(lines) == 1 and lines[0].startswith(f"{file} differs from the recipe in evaluate.threshold: training")
    assert json.loads(file.read_text())["threshold"] == LOW["threshold"]
    run.decision.unlink()
    keep_decision(run, experiment)
    assert run.decision.read_bytes() == before


@pytest.mark.parametrize(
    "override",
    [
        "evaluate.threshold={stomac=0.4,default=0.5}",
        "evaluate.presence={stomac=0.4,default=0.5}",
        "postprocess.0.pixels={stomac=4,default=5}",
    ],
)
def test_an_unknown_class_is_refused_before_anything_is_trained(session, recipe, override, tmp_path):
    with pytest.raises(DataError, match=r"no class 'stomac'; did you mean 'stomach'\?"):
        train(session.experiment(recipe(override)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_masks_of_a_submission_follow_the_thresholds_of_their_classes(copied, session, tmp_path):
    """The submission's masks are the probabilities cut at each class's threshold."""
    sets = ["evaluate.threshold={stomach=0.1,default=0.45}", "evaluate.presence={stomach=0.2,default=0}"]
    run, experiment = session.open_run(
        copied, overrides=[*sets, "postprocess=[]", "predict.part=validation"], command="predict"
    )
    file = predict(run, experiment, out=tmp_path / "x.csv").file
    texts = read_submission(file).set_index(["id", "class"])["predicted"]
    kept = np.array([0.0, 0.0, 0.2])
    for scan in experiment.probabilities(experiment.split.validation, label="x", progress=lambda items, *_: items):
        for row, values, *_ in scan:
            name, (height, width) = experiment.dataset.table["id"][row], values.shape[:2]
            expected = (values >= np.float32([0.45, 0.45, 0.1])) & (values.max((0, 1)) >= kept)
            for k, label in enumerate(experiment.classes):
                found = decode(texts[name, label], height=height, width=width)
                assert np.array_equal(found, expected[..., k])
