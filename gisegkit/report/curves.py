"""Curves over epochs as inline SVG, coloured by the page's own style sheet (classes ``s0`` to ``s7``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[int, float | None]]

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 38
BASE = HEIGHT - BOTTOM
SERIES = 8


@dataclass(frozen=True)
class _Scale:
    """From epochs and values to the drawing's coordinates."""

    first: int
    last: int
    low: float
    high: float

    def across(self, epoch: float) -> float:
        return LEFT + (epoch - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def down(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * (BASE - TOP)

    def point(self, epoch: float, value: float) -> str:
        return f"{self.across(epoch):.1f} {self.down(value):.1f}"


def curves(lines: Mapping[str, Points], *, label: str, epochs: tuple[int, int], mark: int | None = None) -> str:
    """A chart with axes, and a legend where it has more than one line.

    Args:
        lines: by name, pairs (epoch, value) with rising epochs; a value that is None or not finite is a gap.
        label: what the chart shows, for those who hear the page.
        epochs: the first and the last on the axis, so that all charts of a run share it.
        mark: the epoch at which a vertical line stands.

    Returns:
        HTML; a sentence in place of the chart where no value is finite.
    """
    pieces = {name: _pieces(points) for name, points in lines.items()}
    values = [value for found in pieces.values() for piece in found for _, value in piece]
    if not values:
        return '<p class="none">no values</p>'
    y_ticks = ticks(min(values), max(values))
    first, last = epochs if epochs[0] < epochs[1] else (epochs[0] - 1, epochs[0] + 1)
    scale = _Scale(first, last, y_ticks[0], y_ticks[-1])
    x_ticks = [tick for tick in ticks(*epochs) if tick == int(tick) and epochs[0] <= tick <= epochs[1]]
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    parts += _axes(scale, x_ticks, y_ticks)
    if mark is not None:
        title = f"<title>best epoch: {mark}</title>"
        parts.append(f'<path class="mark" d="M{scale.across(mark):.1f} {TOP}V{BASE}">{title}</path>')
    radius = 2.5 if last - first <= 40 else 1.5
    for index, (name, found) in enumerate(pieces.items()):
        style = f"s{index % SERIES}"
        for piece in found:
            parts.append(f'<path class="line {style}" d="M{"L".join(scale.point(*point) for point in piece)}"/>')
            for epoch, value in piece:
                at = f'cx="{scale.across(epoch):.1f}" cy="{scale.down(value):.1f}" r="{radius}"'
                title = f"<title>{escape(name)}, epoch {epoch}: {value:.4g}</title>"
                parts.append(f'<circle class="{style}" {at}>{title}</circle>')
    return "".join([*parts, "</svg>", _legend(lines) if len(lines) > 1 else ""])


def ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round numbers that enclose ``low`` and ``high``: about ``count`` steps of 1, 2 or 5 times a power of ten."""
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        reach = abs(low) * 0.1 or 0.1
        low, high = low - reach, high + reach
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12 - math.floor(math.log10(step))) for index in range(start, end + 1)]


def _axes(scale: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
    parts = []
    for tick in y_ticks:
        y = scale.down(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {BASE}H{WIDTH - RIGHT}"/>')
    for tick in x_ticks:
        x = scale.across(tick)
        parts.append(f'<path class="axis" d="M{x:.1f} {BASE}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{BASE + 17}" text-anchor="middle">{tick:.0f}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    return parts


def _pieces(points: Points) -> list[list[tuple[int, float]]]:
    """The stretches between gaps; an epoch that is not listed is no gap."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for epoch, value in points:
        if value is not None and math.isfinite(value):
            pieces[-1].append((epoch, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _legend(names: Mapping[str, Points]) -> str:
    entries = (
        f'<li><svg viewBox="0 0 22 10" aria-hidden="true"><path class="line s{index % SERIES}" d="M0 5H22"/></svg>'
        f"{escape(name)}</li>"
        for index, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(entries)}</ul>'
