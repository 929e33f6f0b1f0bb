"""The components that a plan file names: where its cells run, and who chooses their settings."""

from __future__ import annotations

from gisegkit.errors import Mistake
from gisegkit.recipe.check import Checker
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.recipe.text import Document
from gisegkit.registry.kinds import KINDS, Registries


def part_kinds() -> list[str]:
    """The kinds that a plan file may name."""
    return [kind.name for kind in KINDS.values() if kind.home == "plan"]


def parts_of(document: Document, registries: Registries) -> tuple[dict[str, ComponentSpec], list[Mistake]]:
    """The components of a plan by kind, defaults filled in, and every mistake in their tables.

    A kind without a default, which the plan does not name, is not there.
    """
    checker = Checker(Document(document.source, document.data, document.lines, document.overrides), registries)
    found = {name: checker.components(KINDS[name]) for name in part_kinds()}
    return {name: specs[0] for name, specs in found.items() if specs}, checker.mistakes
