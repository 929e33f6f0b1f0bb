"""What the commands print with: lines, warnings, tables, and progress on a terminal or in a log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

from gisegkit.errors import count
from gisegkit.workflows.epochs import clock as clock

T = TypeVar("T")

EVERY = 10.0
"""Seconds between two progress lines if there is no terminal."""


def say(line: str) -> None:
    """One line on standard output."""
    click.echo(line)


def warn(line: str) -> None:
    """One line on standard error."""
    click.secho("warning: ", fg="yellow", nl=False, err=True)
    click.echo(line, err=True)


def progress(items: Iterable[T], label: str, total: int) -> Iterable[T]:
    """A bar with rate and time left on a terminal; otherwise a plain line now and then."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar: Iterable[T] = tqdm(items, desc=label, total=total, leave=False, dynamic_ncols=True, smoothing=0.1)
        return bar
    return _lines(items, label, total)


def _lines(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - last >= EVERY:
            last = now
            rate = done / (now - start)
            click.echo(f"{label}: {done}/{total}, {rate:.2f}/s, {clock((total - done) / rate)} left", err=True)
        yield item


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as their content; numbers to the right."""
    texts = [list(header), *([cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    numeric = [all(_is_number(row[column]) for row in texts[1:]) for column in range(len(header))]
    for row in texts:
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        click.echo("  " + "  ".join(cells).rstrip())


def cell(value: Any) -> str:
    """A value as a table shows it; undefined numbers as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text == "-" or text.lstrip("-").replace(".", "", 1).isdigit()


def print_scores(scores: Mapping[str, Any]) -> None:
    """What ``evaluation/scores.json`` holds: a metric a line, what it counts in a numbered note below."""
    demo = "DEMO on phantoms, not real data: " if scores.get("demo") else ""
    networks = len(scores.get("networks", []))
    epoch = f", epoch {scores['epoch']}" if scores.get("epoch") is not None else ""
    epoch = f", {count(networks, 'network')}" if networks else epoch
    what = f"{count(scores['slices'], 'slice')} in {count(scores['scans'], 'scan')}"
    say(f"{demo}scores of {what} ({scores['part']}{epoch})")
    values: Mapping[str, float] = scores["scores"]
    higher: Mapping[str, bool] = scores.get("higher_is_better", {})  # older runs do not say it of parts
    for number, name in enumerate(scores["conventions"], 1):
        own = higher.get(name, True)
        inner = "".join(
            f"  {key.removeprefix(f'{name}/')} {cell(value)}{_lower(higher.get(key, own)) if own else ''}"
            for key, value in values.items()
            if key.startswith(f"{name}/")
        )
        say(f"  {name} {cell(values[name])}{_lower(own)} [{number}]{inner}")
    for number, convention in enumerate(scores["conventions"].values(), 1):
        say(f"  [{number}] {convention}")


def _lower(higher: bool) -> str:
    """What is printed beside a score if lower is better; that higher is goes without saying."""
    return "" if higher else " (lower is better)"
