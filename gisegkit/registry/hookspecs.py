"""The two hooks of gisegkit, in the order in which they are called.

A plugin implements one or both in the module that its entry point (group ``gisegkit``) names::

    from gisegkit import hookimpl

    @hookimpl
    def register_components(add):
        add.loss("edge_bce", "my_package.losses:EdgeBCE")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from gisegkit.registry.adder import Adder

PROJECT = "gisegkit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_components(add: Adder) -> None:
    """Register components: ``add.loss(name, target)``, one method a kind, target an object or an import path."""


@hookspec
def register_commands(cli: Any) -> None:
    """Add commands to ``giseg``: ``cli`` is its click Group."""
