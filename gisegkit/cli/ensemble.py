"""``giseg ensemble``: several runs as one."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gisegkit.cli.options import device_option, session
from gisegkit.cli.output import say, table
from gisegkit.errors import count
from gisegkit.plugins import Plugins


def _numbers(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """The numbers of a text such as 0.6,0.4."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter("give numbers with commas between, such as 0.6,0.4") from None


def _pixels(ctx: click.Context, param: click.Parameter, text: str | None) -> int | dict[str, int] | None:
    """The number, or the numbers by class, of a text such as 12 or stomach=12,large_bowel=20."""
    if text is None:
        return None
    try:
        if "=" not in text:
            return _natural(text)
        pairs = [part.partition("=") for part in text.split(",")]
        found = {name.strip(): _natural(number) for name, _, number in pairs}
    except ValueError:
        found = {}
    if not found or len(found) != text.count(",") + 1:
        raise click.BadParameter("give a whole number such as 12, or one for each class: stomach=12,large_bowel=20")
    return found


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


@click.command("ensemble")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder for it.")
@click.option("--weights", metavar="W,W...", callback=_numbers, help="Of the runs in the mean.  [default: equal]")
@click.option("--greedy", is_flag=True, help="Choose runs and weights by their score on slices not seen in training.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=10, show_default=True, help="Of --greedy: members, with repetition."
)
@click.option(
    "--gate",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="A run or an ensemble: a class stays in a slice only where this one sees enough of it.",
)
@click.option(
    "--gate-pixels",
    metavar="N|CLASS=N,...",
    callback=_pixels,
    help="The class stays where the gate sees more pixels than this.  [default: 0]",
)
@device_option
@click.pass_obj
def command(
    plugins: Plugins,
    runs: tuple[Path, ...],
    out: Path,
    weights: tuple[float, ...] | None,
    greedy: bool,
    rounds: int,
    gate: Path | None,
    gate_pixels: int | dict[str, int] | None,
    device: str,
) -> None:
    """Make an ensemble of finished RUNS: evaluate, compare and predict take its folder like that of a run.

    The first run gives the data, the metrics and the decision.
    """
    if greedy and weights is not None:
        raise click.UsageError("--greedy and --weights exclude one another")
    if gate is None and gate_pixels is not None:
        raise click.UsageError("--gate-pixels has no effect without --gate")
    from gisegkit.workflows.ensemble import make_ensemble

    made = make_ensemble(
        session(plugins, device),
        runs,
        out,
        weights=weights,
        greedy=greedy,
        rounds=rounds,
        gate=gate,
        gate_pixels=gate_pixels or 0,
    )
    rows = [[member.label, f"{member.weight:.3f}", len(member.networks)] for member in made.members]
    table(["run", "weight", "networks"], rows)
    if made.choice is not None:
        alone = ", ".join(f"{path} {score:.4f}" for path, score in zip(runs, made.choice.alone, strict=True))
        say(f"chosen: {made.choice.score:.4f}; alone: {alone}")
        say("the choice was made on these slices, so its score is a little too good")
    if gate is not None:
        say(f"gate: {gate}")
    say(f"ensemble of {count(len(made.members), 'run')}: {out}; next: giseg evaluate {shlex.quote(str(out))}")
