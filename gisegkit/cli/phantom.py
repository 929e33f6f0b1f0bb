"""``giseg phantom``: a synthetic data set in the competition's own format."""

from __future__ import annotations

from pathlib import Path

import click

from gisegkit.cli.output import progress, say


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
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other patients.")
def command(out: Path, cases: int, days: int, slices: int, test_cases: int, seed: int) -> None:
    """Write a deterministic phantom data set in the competition's format."""
    from gisegkit.data.phantom import write_phantom

    folder = write_phantom(
        out, cases=cases, days=days, slices=slices, test_cases=test_cases, seed=seed, progress=progress
    )
    say(f"phantom: {folder} ({cases * days} scans with labels, {test_cases * days} without)")
    say(f"  use it: giseg run recipes/unet_effb1.toml --set dataset.root={folder}")
