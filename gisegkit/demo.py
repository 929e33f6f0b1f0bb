"""``--demo``: any recipe, anywhere, on phantoms, from random weights, small and short; never to be taken for more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gisegkit.recipe_text import Document, parse_value
from gisegkit.registry import Registries
from gisegkit.values import show

ORIGIN = "--demo"

MODEL: dict[str, Any] = {"weights": "none", "width": 16}
"""What it sets of the network, as far as that has such a parameter."""

SMALL: dict[str, Any] = {
    "dataset.name": "phantom",
    "dataset.cases": 12,
    "dataset.days": 2,
    "dataset.slices": 16,
    "input.size": [64, 64],
    "split.folds": 6,
    "split.fold": 0,
    "train.epochs": 28,
    "train.batch_size": 8,
    "train.micro_batch": "auto",
    "train.validate_every": 7,
    "evaluate.batch_size": 32,
}
"""What a demo run sets: a few minutes on 2 cores."""


def demo_settings(
    document: Document, registries: Registries, overrides: Sequence[str] = ()
) -> list[tuple[str, Any, str]]:
    """(key, value, origin) that turn a recipe into its demo: the phantom, random weights, a small size, few epochs.

    Args:
        document: the recipe.
        registries: where its model is looked up.
        overrides: the texts given with ``--set``, which may name another model.
    """
    settings = [("demo", True, ORIGIN), *((key, value, ORIGIN) for key, value in SMALL.items())]
    model = document.data.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    for text in overrides:
        key, _, value = text.partition("=")
        name = parse_value(value.strip()) if key.strip() == "model.name" else name
    if isinstance(name, str) and name in registries["model"]:
        parameters = registries["model"].get(name).signature().parameters
        settings += [(f"model.{key}", value, ORIGIN) for key, value in MODEL.items() if key in parameters]
    return settings


def overridden(document: Document, settings: list[tuple[str, Any, str]]) -> list[str]:
    """One line for each value that the demo sets, with what the recipe says; call it before they are applied."""
    lines = []
    for key, value, _ in settings:
        node: Any = document.data
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node != value:
            said = "" if node is None else f" (the recipe says {show(node)})"
            lines.append(f"demo: {key} = {show(value)}{said}")
    return lines
