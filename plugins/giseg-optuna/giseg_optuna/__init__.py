"""The plugin's hook and nothing else, so that finding the plugin does not import Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gisegkit import hookimpl

if TYPE_CHECKING:
    from gisegkit.registry.adder import Adder


@hookimpl
def register_components(add: Adder) -> None:
    """Register the search ``optuna``."""
    add.search("optuna", "giseg_optuna.search:OptunaSearch")
