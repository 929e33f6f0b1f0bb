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


@click.command("ensemble")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder for it.")
@click.option("--weights", metavar="W,W...", callback=_numbers, help="Of the runs in the mean.  [default: equal]")
@click.option("--greedy", is_flag=True, help="Choose runs and weights by their score on slices not seen in training.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=10, show_default=True, help="Of --greedy: members, with repetition."
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
    device: str,
) -> None:
    """Make an ensemble of finished RUNS: evaluate, compare and predict take its folder like that of a run.

    The first run gives the data, the metrics and the decision.
    """
    if greedy and weights is not None:
        raise click.UsageError("--greedy and --weights exclude one another")
    from gisegkit.workflows.ensemble import make_ensemble

    made = make_ensemble(session(plugins, device), runs, out, weights=weights, greedy=greedy, rounds=rounds)
    rows = [[member.label, f"{member.weight:.3f}", len(member.networks)] for member in made.members]
    table(["run", "weight", "networks"], rows)
    if made.choice is not None:
        alone = ", ".join(f"{path} {score:.4f}" for path, score in zip(runs, made.choice.alone, strict=True))
        say(f"chosen: {made.choice.score:.4f}; alone: {alone}")
        say("the choice was made on these slices, so its score is a little too good")
    say(f"ensemble of {count(len(made.members), 'run')}: {out}; next: giseg evaluate {shlex.quote(str(out))}")
