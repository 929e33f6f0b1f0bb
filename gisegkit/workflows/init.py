"""``giseg init``: a folder becomes a recipe that trains, with the reasons for its choices as comments."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gisegkit.build.console import Console
from gisegkit.build.data import ExperimentData
from gisegkit.build.draft import data_rules, training_rules
from gisegkit.build.draft.data_rules import Part
from gisegkit.build.draft.facts import Facts, look
from gisegkit.build.draft.layouts import Layout, find_layout
from gisegkit.build.draft.text import recipe_text
from gisegkit.build.draft.training_rules import CPU, GPU, Power
from gisegkit.build.draft.values import name_classes, without_alpha
from gisegkit.build.preflight import look as look_at_recipe
from gisegkit.data.atomic_files import write_text
from gisegkit.data.findings import FindingsError, findings_of, grouped, refuse_errors
from gisegkit.engine.device import pick_device
from gisegkit.errors import GisegError, RunError, count
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.sections import Recipe
from gisegkit.types import Dataset

MOST = 0.5
"""Share of the pixels from which a class may be the background."""

ENOUGH = """
[model]
name = "unet"

[[loss]]
name = "bce"

[optimizer]
name = "adam"
"""
"""What a recipe needs besides its data, so that these can be looked at."""


@dataclass(frozen=True)
class Drafted:
    """A recipe that was written.

    Attributes:
        path: its file.
        recipe: what it says.
        facts: what the folder holds.
        asks: what the folder cannot tell, a line each.
    """

    path: Path
    recipe: Recipe
    facts: Facts
    asks: tuple[str, ...]


def init(folder: Path, out: Path, *, console: Console, force: bool = False) -> Drafted:
    """Look at a folder and write a recipe for it, once that was read back and its data were checked.

    Args:
        folder: images and masks in one of the usual layouts.
        out: the file.
        console: the device to choose for, the plugins, and where progress goes.
        force: replace a file that is there.

    Raises:
        RunError: if the file is there, or cannot be written.
        DataError: if the folder holds no images with masks, or more than one way to pair them, or files are damaged.
    """
    if out.exists() and not force:
        raise RunError(f"{out} is there already; choose another --out, or replace it with --force")
    power = CPU if pick_device(console.device).device.type == "cpu" else GPU
    layout = name_classes(find_layout(folder), progress=console.progress)
    data = _enough(layout, out, console)
    try:
        findings = findings_of(data.dataset)
    except FindingsError as error:  # no image can be used as it is
        findings = list(error.findings)
    if clear := [found for found in findings if found.kind == "alpha channel"]:
        layout = without_alpha(layout, len(clear))
        data = _enough(layout, out, console)
    refuse_errors(findings_of(data.dataset))
    facts = look(data.dataset, progress=console.progress)
    parts, told = choose(layout, facts, power)
    text = recipe_text(_name(folder), _header(folder, facts, power), parts)
    recipe = _parse(text, out, console)
    whole = ExperimentData(recipe, console.plugins.registries, console=console)
    whole.dataset = data.dataset  # of the same table; making one may read every mask
    found = look_at_recipe(whole)
    write_text(out, text)
    written = load_recipe(out, registries=console.plugins.registries)
    warnings = (line.removeprefix("warning: ") for line in found.warnings)
    return Drafted(out, written, facts, (*layout.asks, *told, *_notes(data.dataset), *warnings))


def _enough(layout: Layout, out: Path, console: Console) -> ExperimentData:
    """The data of a layout, with as much of a recipe as they need."""
    text = recipe_text("draft", (), [Part("dataset", layout.dataset)]) + ENOUGH
    return ExperimentData(_parse(text, out, console), console.plugins.registries, console=console)


def choose(layout: Layout, facts: Facts, power: Power) -> tuple[list[Part], tuple[str, ...]]:
    """The tables of a recipe in their order, and what has to be told about them."""
    inputs = data_rules.choose_input(facts, side=power.side, crop=power.crop, quick=power is CPU)
    split, told = data_rules.choose_split(facts)
    folds = split.values.get("folds", 1)
    slices = round(facts.labelled * (folds - 1) / folds) if folds > 1 else facts.labelled
    slices = slices if facts.given is None else facts.given[0]
    parts = [
        Part("dataset", layout.dataset, layout.why),
        inputs,
        data_rules.choose_normalization(facts),
        split,
        training_rules.choose_model(power),
        *training_rules.choose_losses(facts),
        *training_rules.choose_augmentation(facts),
        *training_rules.choose_training(slices * inputs.values.get("crops", 1), power),
        *training_rules.choose_metrics(layout.dataset["name"]),
    ]
    return parts, (*told, *_doubts(facts))


def _notes(dataset: Dataset) -> Iterator[str]:
    """What the data set itself says, and what it leaves out, a line each."""
    for group in grouped(findings_of(dataset)):
        if group.severity == "note":
            yield str(group)
    for dropped in dataset.dropped:
        yield f"{count(dropped.slices, 'slice')} left out by the data set: {dropped.reason}"


def _doubts(facts: Facts) -> Iterator[str]:
    """What is strange about the classes, a line each."""
    for name in facts.absent:
        yield f"{name} has no pixel in the {count(facts.looked, 'slice')} that were looked at"
    for name, share in facts.shares.items():
        if share > MOST:
            yield f"{name} covers {share:.0%} of the pixels; if it is the background, name the others in dataset.labels"


def _parse(text: str, out: Path, console: Console) -> Recipe:
    """The recipe of a text that is not written yet; messages name the file that it would be."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.toml"
        draft.write_text(text, encoding="utf-8")
        try:
            recipe = load_recipe(draft, registries=console.plugins.registries)
        except GisegError as error:
            error.args = (str(error).replace(str(draft), f"draft of {out}"),)
            raise
    tables = {
        kind: tuple(replace(spec, place=spec.place.replace(str(draft), f"draft of {out}")) for spec in specs)
        for kind, specs in recipe.tables.items()
    }
    return replace(recipe, tables=tables, source=f"draft of {out}")


def _name(folder: Path) -> str:
    """The recipe's name: the folder's, as far as it can be a file's everywhere."""
    return re.sub(r"[^a-z0-9_-]+", "_", folder.resolve().name.lower()).strip("_") or "recipe"


def _header(folder: Path, facts: Facts, power: Power) -> list[str]:
    unlabelled = facts.slices - facts.labelled
    more = f", and {unlabelled} without masks" if unlabelled else ""
    return [
        f"Written by giseg init for {folder}, to train on {power.name}.",
        f"It holds {count(facts.labelled, 'slice')} with masks in {count(facts.scans, 'scan')} of "
        f"{count(facts.cases, 'case')}{more}; {facts.looked} of them were looked at.",
        "Above each table is the reason for what it says (docs/init.md). Change what you know better.",
    ]
