"""A plan: many runs from a few recipes, and what is made of them.

Each ``[[run]]`` names a recipe and what varies; each combination is a cell, an ordinary run. ``[ensemble]``,
``[gate]``, ``[tune]`` and ``[predict]`` say what follows. ``[demo]`` is set in every cell of a demo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gisegkit.errors import Mistake
from gisegkit.recipe.sections import ComponentSpec

ENSEMBLE = "ensemble"
"""The folder of the ensemble, beside those of the cells."""

STEPS = (ENSEMBLE, "evaluate", "tune", "predict", "logs")
"""Names that no cell may have."""


@dataclass(frozen=True)
class Cell:
    """One run of a plan.

    Attributes:
        name: of its folder.
        run: of the ``[[run]]`` that it belongs to.
        recipe: the file.
        sets: texts ``key=value``, the later ones count more.
        places: of each text, where the plan says it.
        setting: the name without seed and fold: what cells have in common that differ in nothing else.
        trial: its number, if a search asked for it.
    """

    name: str
    run: str
    recipe: Path
    sets: tuple[str, ...]
    places: Mapping[str, str]
    setting: str = ""
    trial: int | None = None


@dataclass
class Plan:
    """What a plan file asks for.

    Attributes:
        tables: of ``ensemble``, ``gate``, ``tune`` and ``predict``, those that there are.
        parts: the components that it names, by kind, such as the ``executor``.
        searched: what every trial of the search has in common; None without a search.
        members: cells of the ensemble with their weights; empty without one.
        gate: the cell that is the gate.
        mistakes: what is wrong with the file.
        notes: what a demo leaves out.
    """

    source: str
    name: str = ""
    cells: list[Cell] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, ComponentSpec] = field(default_factory=dict)
    searched: Cell | None = None
    members: dict[str, float] = field(default_factory=dict)
    gate: str = ""
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
