"""decision.json: made of a recipe, read back, and told apart from the recipe."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gisegkit.errors import DataError, RunError
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import ComponentSpec, Evaluate
from gisegkit.runs.decision_file import StoredDecision

CLASSES = ("large_bowel", "small_bowel", "stomach")
STEPS = (
    ComponentSpec("postprocess", "min_area", {"pixels": {"stomach": 9, "default": 4}, "unit": "slice"}),
    ComponentSpec("postprocess", "continuity", {"fill": 2, "remove": 0}),
)


@pytest.fixture
def chosen(recipe):
    evaluate = Evaluate(threshold={"stomach": 0.4, "default": 0.5}, presence=0.25)
    return replace(recipe().with_components(postprocess=STEPS), evaluate=evaluate)


def stored_as(tmp_path, content):
    file = tmp_path / "decision.json"
    file.write_text(json.dumps(content))
    return file


def test_every_class_is_named_and_the_file_reads_back(chosen, tmp_path):
    made = StoredDecision.of_recipe(chosen, CLASSES, exclusive=True)
    assert made.threshold == {"large_bowel": 0.5, "small_bowel": 0.5, "stomach": 0.4}
    assert made.presence == dict.fromkeys(CLASSES, 0.25)
    file = stored_as(tmp_path, made.as_dict())
    read = StoredDecision.read(file)
    assert read.as_dict() == made.as_dict() == json.loads(file.read_text())
    assert read.presets(chosen, file) == []
    read.verify(file, CLASSES, exclusive=True)


@pytest.mark.parametrize("same", [{"stomach": 0.4, "default": 0.5}, {**dict.fromkeys(CLASSES, 0.5), "stomach": 0.4}])
def test_another_way_to_write_the_same_is_no_difference(chosen, same, tmp_path):
    file = tmp_path / "decision.json"
    made = StoredDecision.of_recipe(chosen, CLASSES, exclusive=False)
    assert made.presets(replace(chosen, evaluate=replace(chosen.evaluate, threshold=same)), file) == []


def test_what_differs_is_told_key_by_key(chosen, tmp_path):
    file = tmp_path / "decision.json"
    made = StoredDecision.of_recipe(chosen, CLASSES, exclusive=False)
    other = replace(made, threshold=dict.fromkeys(CLASSES, 0.3))
    assert other.presets(chosen, file) == [("evaluate.threshold", 0.3, str(file))]
    other = replace(made, presence={**made.presence, "stomach": 0.9})
    assert other.presets(chosen, file) == [("evaluate.presence", dict(other.presence), str(file))]
    other = replace(made, postprocess=made.postprocess[:1])
    assert other.presets(chosen, file) == [("postprocess", [made.postprocess[0]], str(file))]
    elsewhere = replace(chosen, evaluate=Evaluate(threshold={"liver": 0.3, "default": 0.5}, presence=0.25))
    assert [key for key, _, _ in made.presets(elsewhere, file)] == ["evaluate.threshold"]


def test_what_differs_from_a_filled_recipe_is_told_too(chosen):
    made, filled = StoredDecision.of_recipe(chosen, CLASSES, exclusive=False), chosen.as_dict()
    assert made.differs_in(filled) == ()
    assert replace(made, threshold=dict.fromkeys(CLASSES, 0.5)).differs_in(filled) == ("evaluate.threshold",)
    assert replace(made, presence=dict.fromkeys(CLASSES, 0.0), postprocess=()).differs_in(filled) == (
        "evaluate.presence",
        "postprocess",
    )


def test_a_recipe_for_other_classes_has_no_decision(chosen):
    with pytest.raises(DataError, match=r"evaluate.threshold.*no class 'stomach'"):
        StoredDecision.of_recipe(chosen, ("liver",), exclusive=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "is of format 2, and this gisegkit reads format 1"),
        ({"format": None}, "is of format None"),
        ({"classes": "stomach"}, "classes"),
        ({"exclusive": 1}, "exclusive"),
        ({"threshold": 0.5}, "threshold"),
        ({"threshold": {"stomach": 0.5}}, r"threshold \(a number from 0 to 1 for each of large_bowel, small_bowel"),
        ({"threshold": dict.fromkeys(CLASSES, 1.5)}, "threshold"),
        ({"threshold": dict.fromkeys(CLASSES, True)}, "threshold"),
        ({"presence": dict.fromkeys(CLASSES, None)}, "presence"),
        ({"presence": dict.fromkeys(reversed(CLASSES), 0.5)}, "presence"),
        ({"postprocess": None}, "postprocess"),
    ],
)
def test_a_damaged_file_is_refused(chosen, change, message, tmp_path):
    content = StoredDecision.of_recipe(chosen, CLASSES, exclusive=False).as_dict() | change
    with pytest.raises(RunError, match=rf"decision.json.*{message}.*delete it to decide as the run's recipe says"):
        StoredDecision.read(stored_as(tmp_path, content))


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(RunError, match="it holds no table"):
        StoredDecision.read(stored_as(tmp_path, [1]))


@pytest.mark.parametrize(("classes", "exclusive"), [(CLASSES[:2], False), (CLASSES[::-1], False), (CLASSES, True)])
def test_a_decision_of_another_network_is_refused(chosen, classes, exclusive, tmp_path):
    made = StoredDecision.of_recipe(chosen, CLASSES, exclusive=False)
    with pytest.raises(RunError, match=r"is for the independent classes large_bowel, .*the network has the "):
        made.verify(tmp_path / "decision.json", classes, exclusive=exclusive)


def test_the_page_shows_a_recipe_that_loads_and_the_file_that_it_makes(home, session, tmp_path):
    page = (Path(__file__).parents[2] / "docs/decisions.md").read_text()
    settings, few, steps, views = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    tiny = (home / "tiny.toml").read_text()
    start = tiny.index("[[postprocess]]")
    assert tiny[start:].startswith('[[postprocess]]\nname = "min_area"\npixels = 3\n')
    assert few.startswith('[[postprocess]]\nname = "min_pixels"')
    text = tiny.replace("[evaluate]\n", settings).replace('[[postprocess]]\nname = "min_area"\npixels = 3\n', steps)
    file = tmp_path / "recipe.toml"
    file.write_text(f"{text}\n{views}")
    loaded = load_recipe(file, registries=session.plugins.registries)
    experiment = session.experiment(loaded)
    assert loaded.predict.tta == ("hflip", "vflip", "rot90", "scale:0.9")
    assert experiment.thresholds == (0.5, 0.5, 0.4) and experiment.presence == (0.0, 0.7, 0.0)
    assert [type(step).__name__ for step in experiment.postprocess] == [
        *("MinArea", "LargestComponent", "FillHoles", "Continuity")
    ]
    sets = [
        "evaluate.threshold={stomach=0.4,default=0.5}",
        "evaluate.presence=0",
        'postprocess=[{name="min_area",pixels=10}]',
    ]
    shown = load_recipe(file, registries=session.plugins.registries, overrides=sets)
    made = StoredDecision.of_recipe(shown, CLASSES, exclusive=False).as_dict()
    assert json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1]) == made
