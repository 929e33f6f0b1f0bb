"""The components that a plan file names: filled with defaults, and checked like those of a recipe."""

from __future__ import annotations

import pytest

from gisegkit.plugins import load_plugins
from gisegkit.recipe.plan_parts import part_kinds, parts_of
from gisegkit.recipe.text import read
from gisegkit.registry.kinds import KINDS

REGISTRIES = load_plugins(selection="none").registries


def parts(text):
    return parts_of(read(text, "p.toml"), REGISTRIES)


def test_the_kinds_are_those_whose_home_is_the_plan():
    assert part_kinds() == [name for name, kind in KINDS.items() if kind.home == "plan"]
    assert part_kinds()[0] == "executor"


def test_a_plan_that_names_none_has_the_defaults():
    found, mistakes = parts("")
    assert not mistakes and {name: spec.as_dict() for name, spec in found.items()} == {
        "executor": {"name": "local", "workers": 0}
    }


def test_one_that_is_named_is_filled_and_has_its_place():
    found, mistakes = parts('\n[executor]\nname = "local"\nworkers = 2\n')
    assert not mistakes and found["executor"].params == {"workers": 2} and found["executor"].place == "p.toml:2"


@pytest.mark.parametrize(
    ("text", "place", "found", "remedy"),
    [
        ('[executor]\nname = "locla"', 2, "unknown executor 'locla'", "did you mean 'local'? There are: local."),
        ('[executor]\nname = "local"\nworker = 2', 3, "unknown parameter 'worker' of executor 'local'", "workers"),
        ('[executor]\nname = "local"\nworkers = -1', 3, "workers = -1", "a whole number 0 or more"),
        ('[executor]\nname = "local"\ndevice = "cpu"', 3, "'device' of executor 'local' is set by --device", "remove"),
        ('[[executor]]\nname = "local"', 1, "executor is not written as [executor]", "write [executor]"),
        ("[executor]\nworkers = 2", 1, "[executor] has no name", "There are: local"),
    ],
)
def test_mistakes_have_a_place_and_a_remedy(text, place, found, remedy):
    (mistake,) = parts(text)[1]
    assert mistake.place == f"p.toml:{place}" and found in mistake.found and remedy in mistake.remedy
