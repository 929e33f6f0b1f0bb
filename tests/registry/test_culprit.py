"""An error out of a plugin's code keeps its traceback and says which plugin it came from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gisegkit.errors import DataError
from gisegkit.plugins import load_plugins
from gisegkit.registry.culprit import name_culprit, names_culprits
from gisegkit.registry.kinds import Component, Owner


@pytest.fixture
def plugin(make_module):
    """A module of a plugin, and registries that know it."""
    name = make_module("def fails(text):\n    raise RuntimeError(text)\n\n\nclass Loss:\n    '''A loss.'''\n")
    found = load_plugins(selection="none").registries
    found["loss"].add(Component("loss", "mine", f"{name}:Loss", Owner("giseg-mine", "2.1")))
    module = __import__(name)
    return module, found


def test_the_plugin_is_named_and_the_error_stays(plugin):
    module, registries = plugin

    @names_culprits
    def verb(experiment, text):
        module.fails(text)

    with pytest.raises(RuntimeError, match="boom") as caught:
        verb(SimpleNamespace(registries=registries), "boom")
    assert str(caught.value) == "boom"
    assert caught.value.__notes__ == ["This error was raised in the plugin giseg-mine 2.1, which brings loss 'mine'."]
    name_culprit(caught.value, registries)
    assert len(caught.value.__notes__) == 1


def test_an_error_of_a_worker_is_known_by_its_text(plugin):
    module, registries = plugin
    error = RuntimeError(f'Original Traceback:\n  File "{module.__file__}", line 2, in fails\n')
    name_culprit(error, registries)
    assert "plugin giseg-mine 2.1" in error.__notes__[0]


def test_errors_of_others_and_of_users_have_no_note(plugin):
    _, registries = plugin
    experiment = SimpleNamespace(registries=registries)

    @names_culprits
    def verb(experiment, error):
        raise error

    for error in (ValueError("ours"), DataError("the user's")):
        with pytest.raises(type(error)) as caught:
            verb(experiment, error)
        assert not hasattr(caught.value, "__notes__")
