"""Finds the built-in plugin and those of the entry points of group ``gisegkit``; keeps what failed and why."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy

import gisegkit.components
from gisegkit import __version__
from gisegkit.errors import ComponentError, in_short
from gisegkit.registry import hookspecs
from gisegkit.registry.adder import Adder
from gisegkit.registry.kinds import Owner, Registries

GROUP = hookspecs.PROJECT
VARIABLE = "GISEG_PLUGINS"


NOT_LOADED = "does not load"


@dataclass(frozen=True)
class Failure:
    """A plugin that did not load (it is left out), or could not add its commands."""

    owner: Owner
    cause: str
    what: str = NOT_LOADED

    def __str__(self) -> str:
        return f"plugin {self.owner} {self.what}: {self.cause}"


@dataclass
class Plugins:
    """All that was found: components by kind, who failed, and the hooks for the command line."""

    registries: Registries = field(default_factory=Registries)
    owners: list[Owner] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    manager: pluggy.PluginManager = field(default_factory=lambda: _manager())
    modules: dict[str, Owner] = field(default_factory=dict)
    """Who owns what the manager knows by this name; empty again once its commands are added."""

    def register_commands(self, cli: Any) -> None:
        """Let every plugin add its commands to the click group, once; one that fails adds none, and is a failure."""
        while self.modules:
            name, owner = self.modules.popitem()
            others = self.manager.get_plugins() - {self.manager.get_plugin(name)}
            before = dict(cli.commands)
            try:
                self.manager.subset_hook_caller("register_commands", remove_plugins=others)(cli=cli)
                taken = [command for command in before if cli.commands.get(command) is not before[command]]
                if taken:
                    raise ComponentError(f"giseg has a command {taken[0]!r} already; it needs another name")
            except Exception as error:  # see _load: one broken plugin is a warning, never an outage
                cli.commands.clear()
                cli.commands.update(before)
                self.failures.append(Failure(owner, in_short(error), "adds no commands"))

    def warnings(self) -> list[str]:
        """One line a thing that the user should know about the plugins."""
        return [
            *(f"{failure}{' (it is left out)' if failure.what == NOT_LOADED else ''}" for failure in self.failures),
            *(f"{VARIABLE} names {name!r}, but no such plugin is installed" for name in self.unmatched),
        ]


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def load_plugins(selection: str | None = None, found: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load the built-in plugin, then the installed ones, each with a guard of its own.

    Args:
        selection: ``none``, or a comma list of distributions to load; all of them where empty. Default: the
            environment variable GISEG_PLUGINS.
        found: the entry points to look at; default those installed.

    Raises:
        ComponentError: if two plugins register one name; names both owners.
    """
    wanted = os.environ.get(VARIABLE, "") if selection is None else selection
    names = {_normal(name) for name in wanted.split(",") if name.strip()}
    plugins = Plugins()
    _load(plugins, gisegkit.components, Owner("gisegkit", __version__))
    candidates = {
        (_owner(point).distribution, point.value): point
        for point in (entry_points(group=GROUP) if found is None else found)
    }
    known, unwanted = set(), []
    for (distribution, _), point in sorted(candidates.items()):
        called = {_normal(distribution), _normal(point.name)}
        known |= called
        if not names or names & called:
            _load(plugins, point, _owner(point))
        else:
            unwanted.append(distribution)
    plugins.unmatched = sorted(names - known - {"none"})
    recalls = []
    if plugins.failures:
        recalls.append("It may belong to a plugin that does not load: " + "; ".join(map(str, plugins.failures)))
    if unwanted and selection is None:
        recalls.append(f"It may belong to a plugin that {VARIABLE}={wanted} leaves out: {', '.join(unwanted)}")
    for registry in plugins.registries.by_kind.values():
        registry.recall = ". ".join(recalls)
    return plugins


def _owner(point: EntryPoint) -> Owner:
    """The distribution of an entry point; a broken one may lack its name or version."""
    name, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    return Owner(name or point.name, version or "?")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip().lower())


def _load(plugins: Plugins, source: ModuleType | EntryPoint, owner: Owner) -> None:
    """Import one plugin and take over what its hook registers: all of it, or nothing."""
    adder = Adder(owner)
    manager = plugins.manager
    try:
        module = source.load() if isinstance(source, EntryPoint) else source
        if manager.is_registered(module):
            return
        others = manager.get_plugins()
        try:
            name = manager.register(module)
            _refuse_unknown_hooks(manager, module)
            manager.subset_hook_caller("register_components", remove_plugins=others)(add=adder)
        except BaseException:
            if manager.is_registered(module):
                manager.unregister(module)
            raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a plugin raises, SystemExit included, must not stop the others
        plugins.failures.append(Failure(owner, in_short(error)))
        return
    plugins.modules[str(name)] = owner
    if owner not in plugins.owners:
        plugins.owners.append(owner)
    for component in adder.components:
        plugins.registries[component.kind].add(component)


def _refuse_unknown_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """pluggy lets a plugin pass that has no hook, or one of another name; its author would never know."""
    callers = manager.get_hookcallers(module) or []
    unknown = [caller.name for caller in callers if not caller.has_spec()]
    if unknown:
        raise ComponentError(f"{unknown[0]!r} is no hook; hooks are register_components and register_commands")
    if not callers:
        raise ComponentError("it registers nothing: its entry point must name a module with a function under @hookimpl")


@functools.cache
def installed() -> Plugins:
    """``load_plugins()`` once for this process."""
    return load_plugins()
