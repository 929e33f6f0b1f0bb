"""Plugins: good ones register, broken ones are one line each and stop nobody, names are promises."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import click
import pytest

from gisegkit import __version__, plugins
from gisegkit.errors import ComponentError, RecipeError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.registry.kinds import Owner

GOOD = """
from gisegkit import hookimpl

@hookimpl
def register_components(add):
    add.loss("edge_bce", "somewhere.loss:EdgeBCE")
"""


def entry(
    value: str, distribution: str | None = "giseg-edge", version: str | None = "0.3", name: str = "edge"
) -> EntryPoint:
    point = EntryPoint(name, value, "gisegkit")
    vars(point).update(dist=SimpleNamespace(name=distribution, version=version) if distribution else None)
    return point


@pytest.fixture
def point(make_module):
    """An entry point to a module with the given text."""
    return lambda text, **distribution: entry(make_module(text), **distribution)


def names(found) -> set[str]:
    return set(found.registries["loss"])


BUILT_IN = names(load_plugins(selection="none", found=[]))


def test_the_built_ins_come_through_the_same_hook():
    found = load_plugins(selection="none", found=[])
    assert found.owners == [Owner("gisegkit", __version__)]
    assert {"bce", "dice", "tversky"} <= names(found)
    assert found.warnings() == []


def test_a_good_plugin_by_path(point):
    found = load_plugins(selection="", found=[point(GOOD)])
    component = found.registries["loss"].get("edge_bce")
    assert component.owner == Owner("giseg-edge", "0.3")
    assert found.owners[1:] == [component.owner]
    assert found.warnings() == []
    assert names(found) == BUILT_IN | {"edge_bce"}


def test_a_good_plugin_by_object(point):
    text = GOOD.replace('"somewhere.loss:EdgeBCE"', "Edge")
    text += '\n\nclass Edge:\n    """Edges."""\n\n    def __init__(self, *, x=1): ...\n'
    component = load_plugins(selection="", found=[point(text)]).registries["loss"].get("edge_bce")
    assert component.signature().summary == "Edges."
    assert list(component.signature().parameters) == ["x"]
    assert component.load()(x=2)


BROKEN = {
    "import nowhere_at_all": "ModuleNotFoundError: No module named 'nowhere_at_all'",
    "def f(:": "SyntaxError: invalid syntax",
    "raise SystemExit": "SystemExit",
    "import sys; sys.exit(3)": "SystemExit: 3",
    "raise RuntimeError('first\\nsecond')": "RuntimeError: first",
    "raise BaseException": "BaseException",
    GOOD + "    raise ValueError('half-way')": "ValueError: half-way",
    GOOD + "    add.loss('two words', 'x:Y')": "ComponentError: 'two words' is no name",
    GOOD + "    add.sound('x', 'x:Y')": "AttributeError: there is no kind 'sound'",
    GOOD.replace("(add)", "(add, wrong)"): "PluginValidationError",
    GOOD.replace("register_components", "register_component"): "'register_component' is no hook; hooks are",
    GOOD.replace("@hookimpl\n", ""): "it registers nothing: its entry point must name a module with",
    "": "it registers nothing",
}


@pytest.mark.parametrize(("text", "cause"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_broken_plugin_is_one_line_and_registers_nothing(point, text, cause):
    good = point(GOOD.replace("edge_bce", "other"), distribution="giseg-zebra", version="1")
    found = load_plugins(selection="", found=[point(text), good])
    assert names(found) == BUILT_IN | {"other"}
    assert found.owners == [Owner("gisegkit", __version__), Owner("giseg-zebra", "1")]
    (warning,) = found.warnings()
    assert warning.startswith("plugin giseg-edge 0.3 does not load: ")
    assert cause in warning
    assert "\n" not in warning
    group = click.Group()
    found.register_commands(group)
    assert group.commands == {}
    assert len(found.warnings()) == 1


def test_the_entry_point_may_not_name_the_hook_itself(make_module):
    found = load_plugins(selection="", found=[entry(make_module(GOOD) + ":register_components")])
    assert "its entry point must name a module" in found.warnings()[0]


@pytest.mark.parametrize("value", ["nowhere_at_all", "os:nothing", "not a path!", ""])
def test_an_entry_point_that_leads_nowhere(value):
    found = load_plugins(selection="", found=[entry(value)])
    assert len(found.warnings()) == 1
    assert "giseg-edge 0.3 does not load" in found.warnings()[0]


def test_ctrl_c_stops_everything(point):
    with pytest.raises(KeyboardInterrupt):
        load_plugins(selection="", found=[point("raise KeyboardInterrupt")])


def test_a_name_of_the_built_ins_is_refused_with_both_owners(point):
    with pytest.raises(ComponentError, match=rf"loss 'bce': one of gisegkit {__version__} and one of giseg-edge 0\.3"):
        load_plugins(selection="", found=[point(GOOD.replace("edge_bce", "bce"))])


def test_two_plugins_with_one_name_are_refused_with_both_owners(point):
    both = [point(GOOD), point(GOOD, distribution="giseg-other", version="2")]
    with pytest.raises(ComponentError, match=r"one of giseg-edge 0\.3 and one of giseg-other 2"):
        load_plugins(selection="", found=both)
    assert "edge_bce" in names(load_plugins(selection="giseg-other", found=both))


@pytest.mark.parametrize(
    ("selection", "loaded"),
    [
        ("", {"a", "b"}),
        (" , ", {"a", "b"}),
        ("none", set()),
        ("giseg-a", {"a"}),
        ("Giseg_A", {"a"}),
        ("giseg.a , giseg-b", {"a", "b"}),
        ("none,giseg-b", {"b"}),
        ("point_b", {"b"}),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_selection(point, monkeypatch, selection, loaded, by_variable):
    points = [
        point(GOOD.replace("edge_bce", name), distribution=f"giseg-{name}", name=f"point-{name}") for name in ("a", "b")
    ]
    monkeypatch.setenv(plugins.VARIABLE, selection if by_variable else "giseg-b")
    found = load_plugins(selection=None if by_variable else selection, found=points)
    assert names(found) - BUILT_IN == loaded
    assert found.warnings() == []


def test_a_selection_that_is_not_installed_is_said(point):
    found = load_plugins(selection="giseg-edge,giseg-egde", found=[point(GOOD)])
    assert found.warnings() == ["GISEG_PLUGINS names 'giseg-egde', but no such plugin is installed"]
    assert "edge_bce" in names(found)


def test_a_plugin_that_is_not_selected_is_not_imported(point):
    found = load_plugins(selection="none", found=[point("raise RuntimeError('imported')")])
    assert found.warnings() == []


def test_two_entry_points_of_one_distribution(make_module):
    one, two = make_module(GOOD), make_module(GOOD.replace("edge_bce", "other"))
    found = load_plugins(selection="", found=[entry(one), entry(two, name="more"), entry(one, name="again")])
    assert names(found) == BUILT_IN | {"edge_bce", "other"}
    assert found.owners == [Owner("gisegkit", __version__), Owner("giseg-edge", "0.3")]


@pytest.mark.parametrize(("distribution", "version"), [(None, None), (SimpleNamespace, None)])
def test_a_distribution_without_name_or_version(point, distribution, version):
    broken = point(GOOD, distribution=None)
    if distribution:
        vars(broken).update(dist=SimpleNamespace(name=None, version=None))
    found = load_plugins(selection="", found=[broken])
    assert found.owners[1:] == [Owner("edge", "?")]


def test_a_broken_plugin_is_recalled_where_a_name_is_missed(point, write_recipe):
    found = load_plugins(selection="", found=[point("import nowhere_at_all")])
    with pytest.raises(ComponentError, match=r"It may belong to a plugin that does not load: plugin giseg-edge 0\.3"):
        found.registries["loss"].get("edge_bce")
    path = write_recipe('name = "x"\n[[loss]]\nname = "edge_bce"\n')
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, registries=found.registries)
    (mistake,) = [mistake for mistake in caught.value.mistakes if mistake.place.endswith(":3")]
    assert "unknown loss 'edge_bce'" in mistake.found
    assert "giseg-edge 0.3 does not load: ModuleNotFoundError" in mistake.remedy


def test_a_plugin_that_the_environment_leaves_out_is_recalled_where_a_name_is_missed(point, monkeypatch):
    monkeypatch.setenv(plugins.VARIABLE, "none")
    found = load_plugins(found=[point(GOOD)])
    with pytest.raises(ComponentError, match=r"a plugin that GISEG_PLUGINS=none leaves out: giseg-edge$"):
        found.registries["loss"].get("edge_bce")
    monkeypatch.delenv(plugins.VARIABLE)
    with pytest.raises(ComponentError, match=r"^(?!.*It may belong)"):
        load_plugins(found=[point(GOOD)]).registries["loss"].get("edge_bcee")


COMMANDS = """
import click
from gisegkit import hookimpl

@hookimpl
def register_commands(cli):
    @cli.command("NAME")
    def hello():
        click.echo("hello")
"""


def group() -> click.Group:
    return click.Group("giseg", commands={"run": click.Command("run")})


def test_commands(point):
    cli, found = group(), load_plugins(selection="", found=[point(COMMANDS.replace("NAME", "hello"))])
    for _ in range(2):  # twice is as good as once
        found.register_commands(cli)
    assert set(cli.commands) == {"run", "hello"}
    assert found.warnings() == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (COMMANDS + "    raise RuntimeError('boom')", "RuntimeError: boom"),
        (COMMANDS.replace("NAME", "run"), "giseg has a command 'run' already"),
        (COMMANDS + "    del cli.commands['run']", "giseg has a command 'run' already"),
    ],
)
def test_a_plugin_that_fails_at_its_commands_adds_none_and_stops_nobody(point, text, cause):
    good = point(COMMANDS.replace("NAME", "hello"), distribution="giseg-zebra")
    cli, found = group(), load_plugins(selection="", found=[point(text), good])
    run = cli.commands["run"]
    found.register_commands(cli)
    assert set(cli.commands) == {"run", "hello"}
    assert cli.commands["run"] is run
    (warning,) = found.warnings()
    assert warning.startswith("plugin giseg-edge 0.3 adds no commands: ")
    assert cause in warning


def test_installed_is_loaded_once():
    assert plugins.installed() is plugins.installed()
