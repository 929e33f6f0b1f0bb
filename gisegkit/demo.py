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
    "dataset.cases": 40,
    "dataset.days": 1,
    "dataset.slices": 10,
    "input.size": [64, 64],
    "split.folds": 6,
    "split.fold": 0,
    "train.epochs": 28,
    "train.batch_size": 8,
    "train.micro_batch": "auto",
    "train.validate_every": 7,
    "evaluate.batch_size": 32,
}
"""What a demo run sets. ``recipes/unet_effb1.toml`` then trains in 3.9 minutes on 2 cores, to a Dice of 0.771 on the
cases that were held out (at da77a7e). Many cases with few slices: 12 cases with 2 scans of 16 slices, about as many
slices an epoch, gave 0.644 in a comparison where these gave 0.754.
"""


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
    return settings + _shifted_losses(document)


def _shifted_losses(document: Document) -> list[tuple[str, Any, str]]:
    """Losses that begin or end at an epoch do so after the same share of the demo's epochs."""
    train, losses = document.data.get("train"), document.data.get("loss")
    epochs = train.get("epochs") if isinstance(train, dict) else None
    if not isinstance(epochs, int) or epochs < 1 or not isinstance(losses, list):
        return []
    settings = []
    for index, loss in enumerate(losses):
        for key in ("start_epoch", "end_epoch"):
            epoch = loss.get(key) if isinstance(loss, dict) else None
            if isinstance(epoch, int) and 1 < epoch <= epochs:
                start = key == "start_epoch"  # the epochs in front of a start are a share, as those up to an end are
                moved = round((epoch - start) * SMALL["train.epochs"] / epochs) + start
                settings.append((f"loss.{index}.{key}", moved, ORIGIN))
    return settings


def overridden(document: Document, settings: list[tuple[str, Any, str]]) -> list[str]:
    """One line for each value that the demo sets, with what the recipe says; call it before they are applied."""
    lines = []
    for key, value, _ in settings:
        node: Any = document.data
        for part in key.split("."):
            node = node[int(part)] if isinstance(node, list) else node.get(part) if isinstance(node, dict) else None
        if node != value:
            said = "" if node is None else f" (the recipe says {show(node)})"
            lines.append(f"demo: {key} = {show(value)}{said}")
    return lines
