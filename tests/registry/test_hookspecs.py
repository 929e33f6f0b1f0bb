"""The two hooks: their names, arguments, and that the marker of the package is theirs."""

from __future__ import annotations

import inspect

import pluggy

import gisegkit
from gisegkit.registry import hookspecs


def test_two_hooks_in_the_order_in_which_they_are_called():
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks = {
        name: list(inspect.signature(getattr(hookspecs, name)).parameters)
        for name in vars(manager.hook)
        if name[0] != "_"
    }
    assert hooks == {"register_components": ["add"], "register_commands": ["cli"]}
    lines = [
        inspect.getsourcelines(getattr(hookspecs, name))[1] for name in ("register_components", "register_commands")
    ]
    assert lines == sorted(lines)


def test_the_public_marker_marks_for_this_project():
    @gisegkit.hookimpl
    def register_components(add): ...

    assert getattr(register_components, f"{hookspecs.PROJECT}_impl")


def test_the_example_in_the_docstring_is_a_plugin():
    code = inspect.cleandoc(hookspecs.__doc__).split("::\n\n", 1)[1]
    names: dict = {}
    exec(inspect.cleandoc(code), names)
    added = []
    names["register_components"](type("Add", (), {"loss": staticmethod(lambda *args: added.append(args))}))
    assert added == [("edge_bce", "my_package.losses:EdgeBCE")]
