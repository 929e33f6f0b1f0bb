"""The text of a drafted recipe: tables with the reasons for their values as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from gisegkit.build.draft.data_rules import Part
from gisegkit.recipe.text import dump
from gisegkit.registry.kinds import KINDS

WIDTH = 118


def recipe_text(name: str, header: Iterable[str], parts: Iterable[Part]) -> str:
    """A recipe.

    Args:
        name: of the recipe.
        header: what it opens with, a comment line each.
        parts: its tables, in their order.
    """
    blocks = ["\n".join(_comments(header)), dump({"name": name}).rstrip()]
    for part in parts:
        many = part.table in KINDS and KINDS[part.table].many
        table: Any = [part.values] if many else part.values
        blocks.append("\n".join([*_comments(part.why), dump({part.table: table}).strip()]))
    return "\n\n".join(blocks) + "\n"


def _comments(lines: Iterable[str]) -> list[str]:
    return [row for line in lines for row in textwrap.wrap(line, WIDTH, initial_indent="# ", subsequent_indent="#   ")]
