"""Predicted against measured memory of a training step on the CPU, for the deck's eight recipes.

    python benchmarks/memory.py [PIXELS] [SLICES]

For each recipe: the network from random weights in float32, the recipe's losses and number of weighted targets, one
micro-batch; plain and with activation checkpointing. Measured is the most that the allocator had handed out at once
during a real forward and backward pass, beyond what it had before, counted by torch's profiler. Writes
benchmarks/results/memory-cpu.json and the table in docs/memory.md.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gisegkit.build.experiment import Experiment
from gisegkit.build.memory_plan import simulate
from gisegkit.build.network import build_network
from gisegkit.engine.checkpointing import disable, enable
from gisegkit.engine.device import Device
from gisegkit.engine.memory import Simulation
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.runs.environment import PACKAGES, version_of

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


def measured(step: Simulation, count: int) -> int:
    """Bytes that the allocator had handed out at most during a real step."""
    model = step.model.train().to(memory_format=torch.channels_last)
    images = torch.rand(count, step.channels, *step.size).contiguous(memory_format=torch.channels_last)
    masks = (torch.rand(count, step.classes, *step.size) < 0.2).float()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        logits = model(images)
        sum(step.criterion(logits, masks) for _ in range(step.targets)).backward()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def row(name: str, pixels: int, count: int) -> dict[str, Any]:
    """One recipe, plain and recomputed, in bytes."""
    registries = load_plugins(selection="none").registries
    size = f"input.size=[{pixels},{pixels}]"
    recipe = load_recipe(ROOT / "recipes" / f"{name}.toml", registries=registries, overrides=[size])
    experiment = Experiment(recipe, registries)
    step = simulate(
        experiment,
        model=build_network(experiment, channels=1, classes=3, trained=True),
        channels=1,
        classes=3,
        device=Device(torch.device("cpu"), torch.float32),
    )
    result: dict[str, Any] = {"recipe": name}
    for label, recomputed in (("plain", False), ("recomputed", True)):
        estimate = step.estimate(count, checkpointing=recomputed)
        blocks = step.recomputable if recomputed else []
        enable(blocks)
        peak = measured(step, count)
        disable(blocks)
        result[label] = {"activations": estimate.activations, "workspace": estimate.workspace, "measured": peak}
        print(name, label, {key: round(value / 2**20, 1) for key, value in result[label].items()}, flush=True)
    return result


def table(rows: list[dict[str, Any]], pixels: int, count: int) -> str:
    """The rows as Markdown."""
    lines = [
        f"{count} slices of {pixels} x {pixels} pixels, float32, in MiB:",
        "",
        "| recipe | predicted | measured | ratio | recomputed: predicted | with workspace | measured |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in rows:
        plain, spared = entry["plain"], entry["recomputed"]
        cells = [
            plain["activations"],
            plain["measured"],
            None,
            spared["activations"],
            spared["activations"] + spared["workspace"],
            spared["measured"],
        ]
        ratio = f"{plain['activations'] / plain['measured']:.3f}"
        texts = [ratio if cell is None else f"{cell / 2**20:.0f}" for cell in cells]
        lines.append("| " + " | ".join([f"`{entry['recipe']}`", *texts]) + " |")
    return "\n".join(lines)


def main(pixels: int, count: int) -> None:
    """Measure, and write the results."""
    rows = [row(name, pixels, count) for name in RECIPES]
    content = {
        "pixels": pixels,
        "slices": count,
        "precision": "fp32",
        "device": "cpu",
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "versions": {name: version_of(name) for name in PACKAGES},
        "rows": rows,
    }
    target = ROOT / "benchmarks" / "results" / "memory-cpu.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(content, indent=2) + "\n")
    page = ROOT / "docs" / "memory.md"
    marks = r"(<!-- memory table -->\n).*?(<!-- end of memory table -->)"
    filled = re.sub(
        marks, lambda found: f"{found[1]}{table(rows, pixels, count)}\n{found[2]}", page.read_text(), flags=re.DOTALL
    )
    page.write_text(filled)


if __name__ == "__main__":
    main(*(int(text) for text in (sys.argv[1:] + ["128", "16"][len(sys.argv) - 1 :])))
