"""What differs in two recipes, key by key."""

from __future__ import annotations

import pytest

from gisegkit.recipe.differences import ABSENT, Difference, differences, fingerprint

FIRST = {
    "seed": 0,
    "input": {"size": (224, 224), "slices": 1},
    "dataset": {"name": "folder", "root": "a", "labels": {"name": 1, "b": 2}},
    "loss": [{"name": "bce", "weight": 1.0, "start_epoch": 1}, {"name": "dice", "weight": 0.5, "smooth": 1.0}],
}


def words(other, **options):
    return [str(item) for item in differences(FIRST, other, **options)]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, []),
        ({"input": {"size": [224, 224], "slices": 1}}, []),
        ({"seed": 1}, ["seed: 0 -> 1"]),
        (
            {"input": {"size": [224, 320], "slices": 3}},
            ["input.size: [224, 224] -> [224, 320]", "input.slices: 1 -> 3"],
        ),
        ({"dataset": {**FIRST["dataset"], "labels": {"name": 3, "b": 2}}}, ["dataset.labels.name: 1 -> 3"]),
        ({"dataset": {"name": "uwmgi", "root": "a"}}, ['dataset.name: "folder" -> "uwmgi"']),
        ({"loss": FIRST["loss"][:1]}, ["loss.1: dice (weight = 0.5, smooth = 1.0) -> none"]),
        (
            {"loss": [{**FIRST["loss"][0], "name": "focal", "gamma": 2}, FIRST["loss"][1]]},
            ['loss.0.name: "bce" -> "focal"'],
        ),
        ({"loss": [{**FIRST["loss"][0], "weight": 2.0}, FIRST["loss"][1]]}, ["loss.0.weight: 1.0 -> 2.0"]),
        ({"postprocess": [{"name": "min_area", "pixels": 3}]}, ["postprocess.0: none -> min_area (pixels = 3)"]),
    ],
)  # fmt: skip
def test_each_key_that_differs(other, expected):
    assert words({**FIRST, **other}) == expected


def test_keys_that_do_not_count():
    assert words({**FIRST, "seed": 1}, without=("seed",)) == []


def test_a_folder_name_stands_for_what_differs():
    one, other = Difference("a", 1, 2), Difference("a", 1, 3)
    assert fingerprint([one]) == fingerprint([Difference("a", 0, 2)]) != fingerprint([other])
    assert fingerprint([one], ["x"]) != fingerprint([one], ["y"])
    assert len(fingerprint([])) == 8
    assert repr(ABSENT) == "absent"
