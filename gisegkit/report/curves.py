"""Curves over epochs as inline SVG; the page's own style sheet colors them (classes ``s0`` to ``s7``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gisegkit.report.templates import render

Points = Sequence[tuple[int, float | None]]

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 38
BASE = HEIGHT - BOTTOM
COLORS = 8


def curves(
    lines: Mapping[str, Points], *, label: str, epochs: tuple[int, int], mark: int | None = None, axis: str = "epoch"
) -> str:
    """A chart with axes, and a legend if it has more than one line.

    Args:
        lines: by name, pairs (epoch, value) with rising epochs; a value that is None or not finite is a gap.
        label: what the chart shows, for screen readers.
        epochs: the first and the last on the axis, so that all charts of a run share it.
        mark: the epoch that a vertical line marks.
        axis: what is counted from left to right.

    Returns:
        HTML; a sentence instead of the chart if no value is finite.
    """
    pieces = {name: _pieces(points) for name, points in lines.items()}
    if not (values := [value for found in pieces.values() for piece in found for _, value in piece]):
        return '<p class="none">no values</p>'
    first, last = epochs if epochs[0] < epochs[1] else (epochs[0] - 1, epochs[0] + 1)
    y_ticks = ticks(min(values), max(values))

    def x(epoch: float) -> float:
        return round(LEFT + (epoch - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (y_ticks[-1] - value) / (y_ticks[-1] - y_ticks[0]) * (BASE - TOP), 1)

    return render(
        "curves.html",
        label=label,
        axis=axis,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        base=BASE,
        x_ticks=[(x(tick), f"{tick:.0f}") for tick in ticks(*epochs) if tick in range(epochs[0], epochs[1] + 1)],
        y_ticks=[(y(tick), f"{tick:.6g}") for tick in y_ticks],
        mark=None if mark is None else (x(mark), mark),
        radius=2.5 if last - first <= 40 else 1.5,
        lines=[
            (
                name,
                f"s{index % COLORS}",
                [[(x(epoch), y(value), epoch, f"{value:.4g}") for epoch, value in piece] for piece in found],
            )
            for index, (name, found) in enumerate(pieces.items())
        ],
    )


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


def _pieces(points: Points) -> list[list[tuple[int, float]]]:
    """The stretches between gaps; an epoch that is not listed is no gap."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for epoch, value in points:
        if value is not None and math.isfinite(value):
            pieces[-1].append((epoch, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
