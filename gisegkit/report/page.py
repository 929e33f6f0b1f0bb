"""The report: one HTML page that holds everything, works from disk without a network, and prints well."""

from __future__ import annotations

import base64
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gisegkit.report.curves import Points, curves

if TYPE_CHECKING:
    import pandas as pd

DASH = "–"
WORST = 50

STYLE = (
    """
:root { color-scheme: light dark; --paper: #fff; --card: #f6f7f9; --ink: #1b1f26; --muted: #5d6673; --line: #dde1e7;
  --c0: #1f77b4; --c1: #d1560a; --c2: #0b8a62; --c3: #b0489a; --c4: #9a7400; --c5: #5b5bd6; --c6: #57707a;
  --c7: #b3344c }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14161b; --card: #1d2027; --ink: #e8eaee;
  --muted: #9aa3b0; --line: #30353f; --c0: #56b4e9; --c1: #ff8a4c; --c2: #2fc796; --c3: #e58bd0; --c4: #e3c33d;
  --c5: #9d9dff; --c6: #a9bcc4; --c7: #ff7d92 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial,
  sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 60px }
.demo { background: #ffbe28; color: #14161b; font-weight: 650; text-align: center; padding: 10px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere }
h2 { font-size: 18px; margin: 40px 0 10px }
h3 { font-size: 14px; margin: 0 0 6px; overflow-wrap: anywhere }
p { margin: 0 0 10px } .about, .note, .none { color: var(--muted) } .note { font-size: 13px }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th, td { padding: 6px 12px; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line) }
tr:last-child > * { border-bottom: 0 }
thead th { background: var(--card); font-weight: 600; white-space: nowrap }
tbody th { font-weight: 500 } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap }
.scores td.number { font-size: 20px; font-weight: 650; line-height: 1.2 } .scores td { color: var(--muted) }
.scores td.number, .scores b { color: var(--ink) } .parts span { display: inline-block; margin-right: 14px;
  white-space: nowrap } .parts b { font-weight: 600; font-variant-numeric: tabular-nums }
.grid2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 16px }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; break-inside: avoid }
figure > svg { display: block; width: 100%; max-width: 520px; height: auto }
img { display: block; max-width: 100%; border-radius: 8px }
svg text { font-size: 12px; fill: var(--muted) } svg .grid { stroke: var(--line) } svg .axis { stroke: var(--muted) }
svg path { fill: none } svg .mark { stroke: var(--muted); stroke-dasharray: 3 4 } svg .line { stroke-width: 2 }
.legend { list-style: none; margin: 6px 0 0; padding: 0; font-size: 13px; display: flex; flex-wrap: wrap;
  gap: 2px 16px }
.legend svg { width: 22px; height: 10px; margin-right: 6px }
pre { margin: 0; padding: 14px 16px; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  overflow-x: auto; font: 13px/1.5 ui-monospace, Consolas, Menlo, monospace }
td.code { font: 13px/1.5 ui-monospace, Consolas, Menlo, monospace; overflow-wrap: anywhere }
"""
    + "\n".join(
        f"path.s{index} {{ stroke: var(--c{index}) }} circle.s{index} {{ fill: var(--c{index}) }}" for index in range(8)
    )
    + """
@media print { :root { color-scheme: light } main { padding: 14px 0; max-width: none } .wide { overflow: visible }
  tr, img { break-inside: avoid } h2 { break-after: avoid } pre { white-space: pre-wrap } }
"""
)


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
) -> str:
    """A run on one page.

    Args:
        name: the run's name.
        demo: whether a banner says that the data are synthetic.
        recipe: the recipe's text.
        environment: what ``environment.json`` holds.
        metrics: one mapping an epoch, as in ``metrics.jsonl``.
        scores: what ``evaluation/scores.json`` holds: scores, their conventions, and what was scored.
        tables: ``by_class`` and ``by_scan``, with any columns.
        preview: a PNG file's bytes.
        folder: the name of the run's folder.
        submission: where the submission lies in the run folder.

    Returns:
        The HTML text; it refers to nothing outside itself.
    """
    sections = [
        ("Scores", _scores(scores)),
        ("Scores by class", _table(tables["by_class"]) if "by_class" in tables else ""),
        ("Preview", _preview(preview)),
        ("Training", _training(metrics)),
        ("Scans", _scans(tables["by_scan"], scores) if "by_scan" in tables else ""),
        ("Recipe", f"<pre>{escape(recipe)}</pre>"),
        ("Environment", _environment(environment)),
    ]
    banner = '<div class="demo">DEMO: synthetic phantoms, not real data</div>' if demo else ""
    shown = escape(name if folder in ("", name) else f"{folder}: {name}")
    title = shown + (" (demo)" if demo else "")
    body = "\n".join(f"<section><h2>{heading}</h2>\n{content}</section>" for heading, content in sections if content)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>\n<style>{STYLE}</style></head>\n<body>{banner}<main>\n"
        f"<h1>{shown}</h1>\n{_about(scores, submission)}\n{body}\n</main></body>\n</html>\n"
    )


# --- sections -------------------------------------------------------------------------------------------------------


def _about(scores: Mapping[str, Any], submission: str) -> str:
    slices, expected = scores.get("slices"), scores.get("expected", scores.get("slices"))
    count = _text(slices) if slices == expected else f"only {_text(slices)} of {_text(expected)}"
    facts = [
        f"{_text(scores.get('part'))}: {count} slices of {_text(scores.get('scans'))} scans",
        f"weights of epoch {_text(scores.get('epoch'))}",
    ]
    if submission:
        facts.append(f"submission: {escape(submission)}")
    lines = [f'<p class="about">{" · ".join(facts)}</p>']
    if scores.get("trained_on"):
        lines.append(
            f'<p class="about">{_text(scores["trained_on"])} of these slices were trained on: the scores are too '
            "good</p>"
        )
    if scores.get("changes"):
        items = "".join(f"<li>{escape(str(item))}</li>" for item in scores["changes"])
        lines.append(
            f'<p class="about">evaluated with other settings than the run was trained with:</p><ul>{items}</ul>'
        )
    return "\n".join(lines)


def _scores(scores: Mapping[str, Any]) -> str:
    values: Mapping[str, Any] = scores.get("scores", {})
    conventions: Mapping[str, str] = scores.get("conventions", {})
    rows = []
    for name, parts in _families(values).items():
        split = "".join(f"<span>{escape(part)} <b>{_number(values[key])}</b></span>" for part, key in parts.items())
        rows.append(
            f'<tr><th>{escape(name)}</th><td class="number">{_number(values.get(name))}</td>'
            f"<td>{escape(conventions.get(name, ''))}"
            + (f'<div class="parts">{split}</div>' if split else "")
            + "</td></tr>"
        )
    head = '<thead><tr><th>metric</th><th class="number">score</th><th>convention, and its parts</th></tr></thead>'
    return f'<div class="wide"><table class="scores">{head}<tbody>{"".join(rows)}</tbody></table></div>' if rows else ""


def _families(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """By metric, its parts: ``dice`` and ``dice/stomach`` give ``{"dice": {"stomach": "dice/stomach"}}``."""
    families: dict[str, dict[str, str]] = {}
    for key in keys:
        name, _, part = key.partition("/")
        family = families.setdefault(name, {})
        if part:
            family[part] = key
    return families


def _preview(preview: bytes | None) -> str:
    if preview is None:
        return ""
    data = base64.b64encode(preview).decode("ascii")
    return f'<img alt="slices with truth and prediction outlined" src="data:image/png;base64,{data}">'


def _training(metrics: Sequence[Mapping[str, Any]]) -> str:
    if not metrics:
        return ""
    best = max((entry["epoch"] for entry in metrics if entry.get("best")), default=None)
    epochs = (metrics[0]["epoch"], metrics[-1]["epoch"])
    charts: dict[str, dict[str, Points]] = {
        "training loss": {"loss": [(entry["epoch"], entry.get("loss")) for entry in metrics]},
        "learning rate": {"learning rate": [(entry["epoch"], entry.get("learning_rate")) for entry in metrics]},
    }
    names = dict.fromkeys(key for entry in metrics for key in entry.get("scores", {}))
    for name, parts in _families(names).items():
        keys = {name: name, **parts} if name in names else parts
        charts[f"validation {name}"] = {label: _course(metrics, key) for label, key in keys.items()}
    figures = "\n".join(
        f"<figure><h3>{escape(title)}</h3>{curves(lines, label=title, epochs=epochs, mark=best)}</figure>"
        for title, lines in charts.items()
    )
    seconds = [entry["seconds"] for entry in metrics if _is_number(entry.get("seconds"))]
    speeds = [entry["images_per_second"] for entry in metrics if _is_number(entry.get("images_per_second"))]
    facts = [f"{len(metrics)} epoch{'s' if len(metrics) != 1 else ''}"]
    facts += [f"{sum(seconds):.0f} s of training"] if seconds else []
    facts += [f"{statistics.median(speeds):.1f} slices a second (median)"] if speeds else []
    facts += [f"best epoch {best} (dashed line)"] if best is not None else []
    return f'<p class="note">{" · ".join(facts)}</p>\n<div class="grid2">{figures}</div>'


def _course(metrics: Sequence[Mapping[str, Any]], key: str) -> Points:
    return [(entry["epoch"], entry["scores"][key]) for entry in metrics if key in entry.get("scores", {})]


def _scans(table: pd.DataFrame, scores: Mapping[str, Any]) -> str:
    """The worst by the first metric."""
    key = next((name for name in scores.get("conventions", {}) if name in table.columns), None)
    if key is None:
        return _table(table.head(WORST))
    higher: bool = scores.get("higher_is_better", {}).get(key, True)  # older runs do not say
    shown = table.sort_values(key, ascending=higher, kind="stable", na_position="last").head(WORST)
    note = f"{'lowest' if higher else 'highest'} {escape(key)} first; {len(shown)} of {len(table)} rows"
    return f'<p class="note">{note}</p>\n{_table(shown)}'


def _environment(environment: Mapping[str, Any]) -> str:
    """Plain values in one table, then a table for each group of values."""
    plain = {key: value for key, value in environment.items() if not isinstance(value, Mapping)}
    groups = {key: value for key, value in environment.items() if isinstance(value, Mapping)}
    figures = "".join(f"<figure><h3>{escape(str(key))}</h3>{_pairs(value)}</figure>" for key, value in groups.items())
    return (f'<div class="wide">{_pairs(plain)}</div><br>' if plain else "") + f'<div class="grid2">{figures}</div>'


# --- pieces ---------------------------------------------------------------------------------------------------------


def _pairs(values: Mapping[str, Any]) -> str:
    rows = (
        f'<tr><th>{escape(str(key))}</th><td class="code">{_text(value)}</td></tr>' for key, value in values.items()
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _table(table: pd.DataFrame) -> str:
    kinds = [table[column].dtype.kind in "iuf" for column in table.columns]
    styles = ['class="number"' if number else "" for number in kinds]
    head = "".join(f"<th {style}>{escape(str(name))}</th>" for name, style in zip(table.columns, styles, strict=True))
    columns = [_cells(table[column].tolist()) for column in table.columns]
    rows = (
        "<tr>" + "".join(f"<td {style}>{cell}</td>" for cell, style in zip(row, styles, strict=True)) + "</tr>"
        for row in zip(*columns, strict=True)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cells(values: Sequence[Any]) -> list[str]:
    """A column's values as text; counts that a gap turned into floats stay whole numbers."""
    numbers = [value for value in values if _is_number(value)]
    if any(abs(value) > 1 for value in numbers) and all(float(value).is_integer() for value in numbers):
        return [f"{value:.0f}" if _is_number(value) else _text(value) for value in values]
    return [_number(value) if isinstance(value, float) else _text(value) for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:.4f}" if _is_number(value) else DASH


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, list | tuple):
        return escape(" ".join(str(item) for item in value)) or DASH
    return escape(str(value))
