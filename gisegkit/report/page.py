"""The report: one HTML page that contains everything, opens from disk without a network, and prints well."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gisegkit.report.curves import Points, curves
from gisegkit.report.drawing import DEMO
from gisegkit.report.templates import is_number, number, render, text

if TYPE_CHECKING:
    import pandas as pd

MOST_SCANS = 50
"""So many of the scans with the worst scores are listed."""


def render_page(
    *,
    name: str,
    demo: bool,
    recipe: str,
    environment: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    preview: bytes | None,
    folder: str = "",
    submission: str = "",
    test: Mapping[str, Any] | None = None,
) -> str:
    """A run on one page.

    Args:
        name: the run's name.
        demo: whether a banner says that the data are synthetic.
        recipe: the recipe's text.
        environment: the content of ``environment.json``.
        metrics: one mapping per epoch, as in ``metrics.jsonl``.
        scores: the content of ``evaluation/scores.json``: scores, their conventions, and what was scored.
        tables: ``by_class`` and ``by_scan``, with any columns.
        preview: a PNG file's bytes.
        folder: the name of the run's folder; submission: the path of the submission in it.
        test: the content of ``scores.json`` of the test datasets, if there are any.

    Returns:
        The HTML text; it refers to nothing outside itself.
    """
    by_scan, scan_note = _worst(tables["by_scan"], scores) if "by_scan" in tables else (None, "")
    return render(
        "page.html",
        name=name if folder in ("", name) else f"{folder}: {name}",
        demo=DEMO if demo else "",
        about=_about(scores, submission, test),
        trained_on=scores.get("trained_on"),
        changes=scores.get("changes"),
        scores=_scores(scores),
        by_class=_table(tables["by_class"]) if "by_class" in tables else None,
        preview=None if preview is None else base64.b64encode(preview).decode("ascii"),
        training=_training(metrics),
        charts=_charts(metrics),
        by_scan=by_scan,
        scan_note=scan_note,
        recipe=recipe,
        environment={key: value for key, value in environment.items() if not isinstance(value, Mapping)},
        environment_groups={key: value for key, value in environment.items() if isinstance(value, Mapping)},
    )


# --- sections -------------------------------------------------------------------------------------------------------


def _about(scores: Mapping[str, Any], submission: str, test: Mapping[str, Any] | None) -> list[str]:
    slices, expected = scores.get("slices"), scores.get("expected", scores.get("slices"))
    count = text(slices) if slices == expected else f"only {text(slices)} of {text(expected)}"
    networks = scores.get("networks", [])
    facts = [
        f"{text(scores.get('part'))}: {count} slices of {text(scores.get('scans'))} scans",
        f"{len(networks)} networks" if networks else f"weights of epoch {text(scores.get('epoch'))}",
    ]
    if test is not None:
        values = ", ".join(f"{name} {text(test['scores'].get(name))}" for name in test["conventions"])
        facts.append(f"test: {values} ({text(test['slices'])} slices of {text(test['scans'])} scans)")
    return [*facts, f"submission: {submission}"] if submission else facts


def _scores(scores: Mapping[str, Any]) -> list[tuple[str, Any, str, dict[str, Any]]]:
    """Each metric with its score, its convention and the scores of its parts."""
    values: Mapping[str, Any] = scores.get("scores", {})
    conventions: Mapping[str, str] = scores.get("conventions", {})
    return [
        (name, values.get(name), conventions.get(name, ""), {part: values[key] for part, key in parts.items()})
        for name, parts in _families(values).items()
    ]


def _families(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """By metric, its parts: ``dice`` and ``dice/stomach`` give ``{"dice": {"stomach": "dice/stomach"}}``."""
    families: dict[str, dict[str, str]] = {}
    for key in keys:
        name, _, part = key.partition("/")
        family = families.setdefault(name, {})
        if part:
            family[part] = key
    return families


def _best(metrics: Sequence[Mapping[str, Any]]) -> int | None:
    return max((entry["epoch"] for entry in metrics if entry.get("best")), default=None)


def _training(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Facts about all epochs together."""
    seconds = [entry["seconds"] for entry in metrics if is_number(entry.get("seconds"))]
    speeds = [entry["images_per_second"] for entry in metrics if is_number(entry.get("images_per_second"))]
    facts = [f"{len(metrics)} epoch{'s' if len(metrics) != 1 else ''}"]
    facts += [f"{sum(seconds):.0f} s of training"] if seconds else []
    facts += [f"{statistics.median(speeds):.1f} slices per second (median)"] if speeds else []
    facts += [f"best epoch {_best(metrics)} (dashed line)"] if _best(metrics) is not None else []
    return facts


def _charts(metrics: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The curves of loss, learning rate and scores, by their titles."""
    if not metrics:
        return {}
    lines: dict[str, dict[str, Points]] = {
        "loss": {
            "training": [(entry["epoch"], entry.get("loss")) for entry in metrics],
            "validation": [(entry["epoch"], entry.get("validation_loss")) for entry in metrics if entry.get("scores")],
        },
        "learning rate": {"learning rate": [(entry["epoch"], entry.get("learning_rate")) for entry in metrics]},
    }
    names = dict.fromkeys(key for entry in metrics for key in entry.get("scores", {}))
    for name, parts in _families(names).items():
        keys = {name: name, **parts} if name in names else parts
        lines[f"validation {name}"] = {
            label: [(entry["epoch"], entry["scores"][key]) for entry in metrics if key in entry.get("scores", {})]
            for label, key in keys.items()
        }
    epochs = (metrics[0]["epoch"], metrics[-1]["epoch"])
    return {title: curves(shown, label=title, epochs=epochs, mark=_best(metrics)) for title, shown in lines.items()}


def _worst(table: pd.DataFrame, scores: Mapping[str, Any]) -> tuple[Table, str]:
    """The scans with the worst score by the first metric, and a note that says so."""
    key = next((name for name in scores.get("conventions", {}) if name in table.columns), None)
    if key is None:
        return _table(table.head(MOST_SCANS)), ""
    higher: bool = scores.get("higher_is_better", {}).get(key, True)  # older runs do not say
    shown = table.sort_values(key, ascending=higher, kind="stable", na_position="last").head(MOST_SCANS)
    return _table(shown), f"{'lowest' if higher else 'highest'} {key} first; {len(shown)} of {len(table)} rows"


# --- tables ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table as the template writes it: each text with its style, ``number`` or ``text``."""

    head: list[tuple[str, str]]
    rows: list[list[tuple[str, str]]]


def _table(table: pd.DataFrame) -> Table:
    styles = ["number" if table[column].dtype.kind in "iuf" else "text" for column in table.columns]
    columns = [_cells(table[column].tolist()) for column in table.columns]
    return Table(
        head=list(zip(map(str, table.columns), styles, strict=True)),
        rows=[list(zip(row, styles, strict=True)) for row in zip(*columns, strict=True)],
    )


def _cells(values: Sequence[Any]) -> list[str]:
    """A column's values as text; counts that a gap turned into floats stay whole numbers."""
    numbers = [value for value in values if is_number(value)]
    if any(abs(value) > 1 for value in numbers) and all(float(value).is_integer() for value in numbers):
        return [f"{value:.0f}" if is_number(value) else text(value) for value in values]
    return [number(value) if isinstance(value, float) else text(value) for value in values]
