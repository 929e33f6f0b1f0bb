"""``giseg compare``: the results table of finished runs, and whether a difference is more than luck."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gisegkit.cli.output import clock, say, table
from gisegkit.plugins import Plugins

if TYPE_CHECKING:
    from gisegkit.workflows.comparison import Compared, Table


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--metric", help="The score to compare by.  [default: uwmgi_score, else the runs' first]")
@click.option(
    "--resamples", type=click.IntRange(min=999), default=9999, show_default=True, help="Of the bootstrap and the test."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row a run.")
@click.pass_obj
def command(
    plugins: Plugins, runs: tuple[Path, ...], metric: str | None, resamples: int, as_json: bool, as_csv: bool
) -> None:
    """Compare finished RUNS with the first of them, by case."""
    from gisegkit.workflows.compare import compare

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude one another")
    result = compare(runs, plugins.registries, metric=metric, resamples=resamples)
    if as_json:
        say(json.dumps(result.as_dict(), indent=2, ensure_ascii=False))
    elif as_csv:
        say(_csv(result).rstrip("\n"))
    else:
        print_comparison(result)


def _csv(result: Table) -> str:
    """A row a run; nested numbers get the name of what they are nested in as a prefix."""
    rows = [_flat({"metric": result.metric, **run}) for run in result.as_dict()["runs"]]
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "comparison"))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{key}/") if isinstance(value, dict) else {prefix + key: value}
    return flat


def print_comparison(result: Table) -> None:
    """The table of a comparison, its verdicts and its notes."""
    first = next(row for row in result.rows if row.comparison is None)
    demo = "DEMO on phantoms, not real data: " if first.run.content["demo"] else ""
    say(f"{demo}{result.metric} with its 95 % interval over cases; {_directions(result)}")
    say(f"  ({result.convention})")
    header = [
        "",
        "score",
        "interval",
        *first.parts,
        *first.by_class,
        "cases",
        "parameters",
        "training",
        "memory",
        "run",
    ]
    table(header, [_cells(number, row, first) for number, row in enumerate(result.rows, start=1)])
    for number, row in enumerate(result.rows, start=1):
        if row.comparison is not None:
            other = row.comparison
            size = "" if math.isnan(other.difference.estimate) else f", {other.difference.estimate:+.4f}"
            say(f"{number} {row.run.label}{size}: {other.verdict}")
    if len(result.rows) > 1:
        say(f"each is compared with {first.run.label}, which was named first; the table is sorted by score")
    for note in result.notes:
        say(f"note: {note}")


def _directions(result: Table) -> str:
    """Which end of the score, and of its parts, is the better one."""
    words = {True: "higher is better", False: "lower is better"}
    known = dict(result.higher_is_better)
    own = known.pop(result.metric, True)
    others = [f"{key.partition('/')[2]}: {words[value]}" for key, value in known.items() if value != own]
    return "; ".join([words[own], *others])


def _cells(number: int, row: Compared, first: Compared) -> list[Any]:
    """A row of the table; parts and classes in the order of the first run, since another may have its own."""
    low, high = row.interval.low, row.interval.high
    content, memory, seconds = row.run.content, row.run.peak_memory, row.run.seconds
    return [
        number,
        row.interval.estimate,
        None if math.isnan(low) else f"{low:.4f} to {high:.4f}",
        *(row.parts[name] for name in first.parts),
        *(row.by_class[name] for name in first.by_class),
        row.cases,
        _millions(content["parameters"]),
        None if seconds is None else clock(seconds),
        None if memory is None else f"{memory / 2**30:.2f} GiB",
        f"{row.run.label} (demo)" if content["demo"] else row.run.label,
    ]


def _millions(parameters: int) -> str:
    """A number of parameters: 6.25 M, or every digit if there are few."""
    return f"{parameters / 1e6:.2f} M" if parameters >= 100_000 else f"{parameters:,}"
