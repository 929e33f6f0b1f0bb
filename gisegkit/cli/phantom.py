"""``giseg phantom``: a synthetic data set in the competition's own format."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from gisegkit.cli.output import progress, say
from gisegkit.errors import count

FOLDS = 5
"""Of the recipe that ``usage`` names; each needs a case."""


@click.command("phantom")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--cases", type=click.IntRange(1), default=4, show_default=True, help="Patients.")
@click.option("--days", type=click.IntRange(1), default=2, show_default=True, help="Scans of each.")
@click.option(
    "--slices",
    type=click.IntRange(8),
    default=32,
    show_default=True,
    help="Slices of a scan; real ones have 144 or 80.",
)
@click.option(
    "--test-cases", type=click.IntRange(0), default=1, show_default=True, help="Patients without labels, in test/."
)
@click.option(
    "--lesions",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The most lesions in a slice of the liver, 4 to 6 pixels across; above 0 they are a fourth class.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other cases.")
def command(out: Path, cases: int, days: int, slices: int, test_cases: int, lesions: int, seed: int) -> None:
    """Write a deterministic phantom data set in the competition's format."""
    from gisegkit.data.phantom.writer import write_phantom

    numbers = {"cases": cases, "days": days, "slices": slices, "test_cases": test_cases, "lesions": lesions}
    folder = write_phantom(out, **numbers, seed=seed, progress=progress)
    without = f", {test_cases * days} without" if test_cases else ""
    say(f"phantom: {folder} ({count(cases * days, 'scan')} with labels{without})")
    say(f"  use it: {usage(folder, cases=cases, lesions=lesions)}")


def usage(folder: Path, *, cases: int, lesions: int = 0) -> str:
    """A command that trains on the phantom, without a network; what a recipe says of it where no recipe is at hand."""
    from gisegkit.data.phantom.anatomy import CLASSES
    from gisegkit.data.phantom.lesions import LESION

    shipped = Path(__file__).parents[2] / "recipes" / "unet_effb1.toml"
    if not shipped.is_file():
        classes = f", classes = {json.dumps([*CLASSES, LESION])}" if lesions else ""
        return f'write [dataset] name = "uwmgi", root = "{folder}"{classes} in a recipe'
    here = Path.cwd()
    recipe = shipped.relative_to(here) if shipped.is_relative_to(here) else shipped
    sets = [f"dataset.root={folder}", "model.weights=none"]
    if lesions:
        sets.append(f"dataset.classes={json.dumps([*CLASSES, LESION])}")
    if cases < FOLDS:
        sets.append(f"split.folds={cases}")
    return shlex.join(["giseg", "run", str(recipe), *(part for text in sets for part in ("--set", text))])
