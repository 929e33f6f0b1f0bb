"""Trains the deck's eight recipes as demos, one after another, compares them, and writes docs/deck.md.

    python benchmarks/deck.py [FOLDER]      or: make deck

The folder (default runs/deck) holds the runs afterwards. A run that is finished there already is not repeated, so that
the command can be given again after an interruption. docs/deck.md is written where all eight finish.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from gisegkit.build.demo import demo_settings
from gisegkit.build.session import Session
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe, read_document
from gisegkit.recipe.sections import Recipe
from gisegkit.types import silent

ROOT = Path(__file__).parent.parent
RECIPES = (
    "unet_resnet34",
    "unet_effb1",
    "unetplusplus_resnet34",
    "unetplusplus_effb1",
    "unetplusplus_effb1_mixup",
    "deeplabv3_effb1",
    "r2unet",
    "r2unet_effb1",
)
EPOCHS = 14
"""Fewer than a demo has, so that eight of them end within 40 minutes on 2 cores."""

GISEG = [sys.executable, "-c", "from gisegkit.cli import main; main()"]


def main(folder: Path) -> None:
    """Train, compare, write the page."""
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    for name in RECIPES:
        train(name, folder / name)
    runs = [str(folder / name) for name in RECIPES]
    table = subprocess.run([*GISEG, "compare", *runs], check=True, capture_output=True, text=True).stdout
    print(table)
    untrained = {name: untrained_dice(name) for name in RECIPES}
    seconds = sum(json.loads((folder / name / "deck.json").read_text())["seconds"] for name in RECIPES)
    print(f"eight recipes in {seconds / 60:.1f} min ({(time.perf_counter() - start) / 60:.1f} min for this command)")
    (ROOT / "docs" / "deck.md").write_text(page(folder, untrained, seconds), encoding="utf-8")


def train(name: str, out: Path) -> None:
    """One demo, unless it stands there finished; its wall time, evaluation and prediction included, in deck.json."""
    if (out / "deck.json").is_file():
        return
    start = time.perf_counter()
    recipe = str(ROOT / "recipes" / f"{name}.toml")
    subprocess.run([*GISEG, "run", recipe, "--demo", "--set", f"train.epochs={EPOCHS}", "--out", str(out)], check=True)
    (out / "deck.json").write_text(json.dumps({"seconds": time.perf_counter() - start}))


def untrained_dice(name: str) -> float:
    """Dice of the network as it starts, on the same validation slices."""
    plugins = load_plugins()
    experiment = Session(plugins, "cpu").experiment(demo(name, plugins))
    return experiment.score(experiment.split.validation, silent).scores()["dice"]


def demo(name: str, plugins) -> Recipe:  # noqa: ANN001 - a script's own helper
    """The demo of a recipe, scored by Dice alone: noise takes long to score by distance."""
    path = ROOT / "recipes" / f"{name}.toml"
    settings = demo_settings(read_document(path), plugins.registries)
    return load_recipe(path, registries=plugins.registries, preset=settings, overrides=['metric=[{name="dice"}]'])


def page(folder: Path, untrained: dict[str, float], seconds: float) -> str:
    """docs/deck.md."""
    environment = json.loads((folder / RECIPES[0] / "environment.json").read_text())
    rows = []
    for name in RECIPES:
        content = json.loads((folder / name / "evaluation" / "scores.json").read_text())
        epochs = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        scores = content["scores"]
        took = json.loads((folder / name / "deck.json").read_text())["seconds"]
        cells = [
            f"`{name}`",
            f"{scores['uwmgi_score']:.3f}",
            f"{scores['dice']:.3f}",
            f"{untrained[name]:.3f}",
            *(f"{scores[f'dice/{label}']:.3f}" for label in ("large_bowel", "small_bowel", "stomach")),
            f"{content['parameters'] / 1e6:.1f}",
            str(len(epochs)),
            f"{took / 60:.1f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    versions = environment["versions"]
    header = "| recipe | score | Dice | untrained | large bowel | small bowel | stomach | weights, M | epochs | min |"
    return "\n".join(
        [
            "# Explanation: the deck's systems, as demos",
            "",
            "`make deck` makes this page: it runs the eight recipes of [the deck](README.md#the-deck) with `--demo`, "
            "one after another.",
            f"Here it took {seconds / 60:.1f} min on {os.cpu_count()} CPU cores (gisegkit at "
            f"{environment['git_revision'][:12]}, Python {platform.python_version()}, torch {versions['torch']}, "
            f"segmentation-models-pytorch {versions['segmentation-models-pytorch']}).",
            "",
            f"**These are demos on synthetic phantoms**: small images, {EPOCHS} epochs, random initial weights, "
            "`r2unet` with a quarter of its width.",
            "The numbers show that every system trains. They do not show which is better on real scans.",
            f"{content['scans']} cases validate, and the epoch that scored best on them is shown.",
            "",
            header,
            "|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            "Score is 0.4 Dice + 0.6 Hausdorff score. Score and Dice are on held-out cases at native size.",
            "Rows in which truth and prediction are both empty are skipped.",
            "Untrained is the Dice of the same network before training.",
            "",
        ]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "deck")
