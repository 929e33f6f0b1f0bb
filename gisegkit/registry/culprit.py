"""Says which plugin an error that is nobody's mistake came from; its traceback stays as it is."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from gisegkit.errors import GisegError
from gisegkit.registry.kinds import Component, Registries

P = ParamSpec("P")
R = TypeVar("R")


def name_culprit(error: BaseException, registries: Registries) -> None:
    """Add a note to an error that was raised in the module of a plugin: the plugin, its version, the components there.

    The deepest frame decides. An error out of a worker process has no frames of it, but tells its files.
    """
    brought = [
        component for component in registries if component.owner.distribution != "gisegkit" and _module(component)
    ]
    modules: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        modules.append(str(trace.tb_frame.f_globals.get("__name__", "")))
        trace = trace.tb_next
    for module in reversed(modules):
        found = _of(module, brought)
        if found:
            return _note(error, found)
    for component in brought:
        file = getattr(sys.modules.get(_module(component)), "__file__", None)
        if file and file in str(error):
            return _note(error, [other for other in brought if _module(other) == _module(component)])


def names_culprits(verb: Callable[P, R]) -> Callable[P, R]:
    """A function with an experiment among its arguments, whose errors say which plugin they came from."""

    @functools.wraps(verb)
    def named(*arguments: P.args, **keywords: P.kwargs) -> R:
        try:
            return verb(*arguments, **keywords)
        except GisegError:
            raise
        except Exception as error:
            for value in (*arguments, *keywords.values()):
                registries = getattr(value, "registries", None)
                if isinstance(registries, Registries):
                    name_culprit(error, registries)
            raise

    return named


def _module(component: Component) -> str:
    """Where a component's factory is defined."""
    target: Any = component.target
    return target.split(":", 1)[0] if isinstance(target, str) else str(getattr(target, "__module__", ""))


def _of(module: str, components: list[Component]) -> list[Component]:
    """Those of this very module, else those of its package."""
    exact = [component for component in components if _module(component) == module]
    package = module.split(".", 1)[0]
    return exact or [component for component in components if _module(component).split(".", 1)[0] == package]


def _note(error: BaseException, components: list[Component]) -> None:
    names = ", ".join(f"{component.kind} {component.name!r}" for component in components)
    note = f"This error was raised in the plugin {components[0].owner}, which brings {names}."
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
