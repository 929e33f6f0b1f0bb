"""``--demo``: any recipe, anywhere, on phantoms, from random weights, small and short; never to be taken for more."""

from __future__ import annotations

from typing import Any

from gisegkit.recipe_text import Document
from gisegkit.registry import Registries

ORIGIN = "--demo"

SMALL: dict[str, Any] = {
    "dataset.name": "phantom",
    "dataset.cases": 6,
    "dataset.days": 2,
    "dataset.slices": 24,
    "input.size": [96, 96],
    "split.folds": 5,
    "split.fold": 0,
    "train.epochs": 12,
    "train.batch_size": 8,
    "train.micro_batch": 0,
    "train.validate_every": 4,
    "evaluate.batch_size": 32,
}
"""What a demo run sets; chosen by measurement, see docs/demo in the recipes' page."""


def demo_settings(document: Document, registries: Registries) -> list[tuple[str, Any, str]]:
    """(key, value, origin) that turn a recipe into its demo: the phantom, random weights, a small size, few epochs."""
    settings = [("demo", True, ORIGIN), *((key, value, ORIGIN) for key, value in SMALL.items())]
    model = document.data.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if isinstance(name, str) and name in registries["model"]:
        parameters = registries["model"].get(name).signature().parameters
        if "weights" in parameters:
            settings.append(("model.weights", "none", ORIGIN))
    return settings


def overridden(document: Document, settings: list[tuple[str, Any, str]]) -> list[str]:
    """One line for each value that the demo sets, with what the recipe says; call it before they are applied."""
    lines = []
    for key, value, _ in settings:
        node: Any = document.data
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node != value:
            lines.append(f"demo: {key} = {_text(value)}" + (f" (the recipe says {_text(node)})" if node is not None else ""))
    return lines


def _text(value: Any) -> str:
    from gisegkit.values import show

    return show(value)
