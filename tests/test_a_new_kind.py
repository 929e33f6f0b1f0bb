"""A kind is one row: with a row in KINDS and a plugin that brings a component, everything else follows."""

from __future__ import annotations

import importlib.util
import json
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from gisegkit.build.contracts import check_contracts
from gisegkit.build.session import Session
from gisegkit.cli import cli
from gisegkit.errors import ComponentError, RecipeError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.kind import Key, Kind
from gisegkit.registry.kinds import KINDS

PLUGIN = '''
"""A plugin with two sounds, and the contract of sounds."""

from typing import Annotated

from gisegkit import hookimpl
from gisegkit.testing import expect
from gisegkit.types import AtLeast


@hookimpl
def register_components(add):
    add.sound("bell", f"{__name__}:Bell")
    add.sound("silence", f"{__name__}:Silence")


class Bell:
    """Rings when a class is found.

    Args:
        strokes: how often it rings for each class.
    """

    def __init__(self, *, place: str, strokes: Annotated[int, AtLeast(1)] = 2) -> None:
        self.strokes = strokes

    def __call__(self, classes: int) -> int:
        return self.strokes * classes


class Silence:
    """Never rings."""

    def __init__(self, *, place: str = "here") -> None:
        pass

    def __call__(self, classes: int) -> int:
        return 0


def check_sound(build, *, classes: int = 2) -> None:
    """A sound is heard."""
    expect(build(place="there")(classes) > 0, f"it is not heard with {classes} classes")
'''


@pytest.fixture
def plugins(make_module, monkeypatch):
    """The built-ins, a row for the kind ``sound``, and the plugin that brings two sounds."""
    module = make_module(PLUGIN)
    volume = Key("Annotated[float, AtLeast(0)]", 1.0, "how loud it is.")
    row = Kind(
        "sound",
        True,
        {"place": "the run folder"},
        "what is heard of a run",
        check=f"{module}:check_sound",
        default=("bell",),
        keys={"volume": volume},
    )
    monkeypatch.setitem(KINDS, "sound", row)
    point = EntryPoint("sounds", module, "gisegkit")
    vars(point).update(dist=SimpleNamespace(name="giseg-sounds", version="0.1"))
    found = load_plugins(selection="", found=[point])
    assert found.warnings() == []
    return found


@pytest.fixture
def load_with(home, plugins):
    def load(*overrides):
        return load_recipe(home / "tiny.toml", registries=plugins.registries, overrides=overrides)

    return load


def invoke(plugins, *arguments):
    (name, *rest) = arguments
    result = CliRunner().invoke(cli.commands[name], rest, obj=plugins, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_it_is_listed(plugins):
    rows = json.loads(invoke(plugins, "list-components", "sound", "--json"))
    assert [(row["name"], row["distribution"], row["summary"]) for row in rows] == [
        ("bell", "giseg-sounds", "Rings when a class is found."),
        ("silence", "giseg-sounds", "Never rings."),
    ]
    assert "sound" in {row["kind"] for row in json.loads(invoke(plugins, "list-components", "--json"))}


def test_it_is_described(plugins):
    text = invoke(plugins, "describe", "sound", "bell")
    assert "    [[sound]]\n" in text
    assert "    strokes = 2\n        How often it rings for each class. A whole number 1 or more.\n" in text
    assert "    volume = 1.0\n        How loud it is. A number 0 or more.\n" in text
    assert "place is settled by the run folder" in text


def test_a_recipe_holds_it(load_with, plugins, write_recipe):
    assert [spec.as_dict() for spec in load_with().tables["sound"]] == [{"name": "bell", "volume": 1.0, "strokes": 2}]
    recipe = load_with("sound.0.name=bell", "sound.0.volume=3", "sound.0.strokes=5")
    assert "sound" in {spec.kind for spec in recipe.components()}
    again = load_recipe(write_recipe(recipe.text()), registries=plugins.registries)
    assert again.as_dict() == recipe.as_dict()
    assert again.as_dict()["sound"] == [{"name": "bell", "volume": 3.0, "strokes": 5}]
    swapped = load_recipe(again.source, registries=plugins.registries, overrides=["sound.0.name=silence"])
    assert [spec.as_dict() for spec in swapped.tables["sound"]] == [{"name": "silence", "volume": 3.0}]
    assert swapped.notes == ("--set sound.0.name=silence: left out, because they belong to sound 'bell': strokes",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sound.0.name=bel", "unknown sound 'bel'.*did you mean 'bell'"),
        ("sound=[{name='bell', stroke=3}]", "unknown parameter 'stroke' of sound 'bell'.*Valid: strokes, volume"),
        ("sound=[{name='bell', strokes=0}]", "strokes = 0.*a whole number 1 or more"),
        ("sound=[{name='bell', volume=-1}]", "volume = -1.*a number 0 or more"),
        ("sound=[{name='bell', place='x'}]", "'place' of sound 'bell' is set by the run folder"),
        ("sound=[]", "no sound"),
        ("sound={name='bell'}", r"sound is not written as \[\[sound\]\]"),
    ],
)
def test_a_recipe_with_it_is_checked(load_with, override, message):
    with pytest.raises(RecipeError, match=f"(?s){message}"):
        load_with(override)


def test_its_contract_is_checked_before_training(load_with, plugins):
    session = Session(plugins, "cpu")
    check_contracts(session.experiment(load_with()))
    with pytest.raises(ComponentError) as caught:
        check_contracts(session.experiment(load_with("sound.0.name=silence")))
    for text in ("--set sound.0", "sound 'silence' of giseg-sounds 0.1", "not heard with 3 classes", ".check_sound"):
        assert text in str(caught.value)


def test_it_is_documented(plugins):
    file = Path(__file__).parent.parent / "docs" / "make_components.py"
    spec = importlib.util.spec_from_file_location("make_components", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    section = module.page(plugins.registries).split("## [[sound]]\n", 1)[1]
    assert "A sound is what is heard of a run.\nThe default is `bell`.\n" in section
    assert "`add.sound`" in section
    assert "| `volume` | `1.0` | a number 0 or more | how loud it is. |" in section
    assert "### bell\n\nRings when a class is found.\n" in section
    assert "| `strokes` | `2` | a whole number 1 or more | how often it rings for each class. |" in section


def test_a_kind_of_plan_files_has_no_table_in_a_recipe(monkeypatch, load, toys):
    monkeypatch.setitem(KINDS, "search", Kind("search", False, {}, "the next run's settings", home="plan", needed=True))
    assert "search" not in load().as_dict()
    with pytest.raises(RecipeError, match="unknown table 'search'"):
        load(load.minimal + '[search]\nname = "random"\n')


def test_a_recipe_that_needs_one_is_refused_without(monkeypatch, load, plugins, home):
    monkeypatch.setitem(KINDS, "sound", Kind("sound", False, {}, "what is heard", needed=True))
    with pytest.raises(RecipeError, match=r"(?s)the recipe has no \[sound\].*There are: bell, silence"):
        load_recipe(home / "tiny.toml", registries=plugins.registries)
