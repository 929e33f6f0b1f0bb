"""The contract of metrics: a value a slice or scan and class, the same whenever asked, better for the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gisegkit.data.spacing import spacing_for
from gisegkit.testing.expect import call, doubt, expect, form
from gisegkit.types import SPACING, BoolArray, FloatArray, Metric

DEPTH = 4


def check_metric(
    metric: Metric,
    *,
    classes: int = 3,
    size: tuple[int, int] = (20, 24),
    spacing: Sequence[float] = (1.5, 1.5, 1.5),
    exclusive: bool = False,
) -> None:
    """A metric gives a value a slice or scan and class, the same whenever asked, prefers the truth, knows empty masks.

    Args:
        metric: what the factory returned.
        classes: K of the masks.
        size: H and W of the masks in pixels.
        spacing: mm from slice to slice, row to row and column to column.
        exclusive: whether a pixel of the masks has one class at most.

    Raises:
        ContractError: at the first violation.
    """
    for name in ("convention", "higher_is_better", "combine"):
        expect(hasattr(metric, name), f"it has no attribute {name!r}")
    line = isinstance(metric.convention, str) and metric.convention and "\n" not in metric.convention
    expect(bool(line), "convention must be one line of text")
    expect(
        isinstance(metric.higher_is_better, bool), f"higher_is_better is {metric.higher_is_better!r}, not True or False"
    )
    given: Any = spacing_for("checked", metric, dict(zip(SPACING, spacing, strict=True)), place="check")
    truth, opposite = _masks(classes, size, exclusive)
    empty = np.zeros_like(truth)
    pairs = [(truth, truth), (opposite, truth), (empty, truth), (truth, empty), (empty, empty)]
    found = [_values(metric, prediction, reference, given, classes) for prediction, reference in pairs]
    with ThreadPoolExecutor(4) as pool:
        for before, after in zip(found * 4, pool.map(lambda pair: metric(*pair, **given), pairs * 4), strict=True):
            same = all(np.array_equal(values, after.get(name), equal_nan=True) for name, values in before.items())
            expect(
                same, "asked again, by several threads at once, it gives other values; a call must change nothing in it"
            )
    _check_direction(metric, found)


def _masks(classes: int, size: tuple[int, int], exclusive: bool) -> tuple[BoolArray, BoolArray]:
    """A truth ``[D, H, W, K]`` and a prediction that is wrong everywhere."""
    rng = np.random.default_rng(0)
    if not exclusive:
        truth = rng.random((DEPTH, *size, classes)) < 0.3
        return truth, ~truth
    labels = rng.integers(0, classes + 1, (DEPTH, *size, 1))
    names = np.arange(1, classes + 1)
    return labels == names, (labels + 1) % (classes + 1) == names


def _values(
    metric: Metric, prediction: BoolArray, truth: BoolArray, given: Any, classes: int
) -> Mapping[str, FloatArray]:
    kept = prediction.copy(), truth.copy()
    parts = call(f"prediction and truth {form(truth)}", metric, prediction, truth, **given)
    alone = np.array_equal(prediction, kept[0]) and np.array_equal(truth, kept[1])
    expect(alone, "it changes its input in place")
    expect(isinstance(parts, Mapping), f"it returns {form(parts)}; a metric returns arrays by the names of its parts")
    expect(bool(parts), "it returns no part")
    for name, values in parts.items():
        shape = getattr(values, "shape", None)
        expect(shape in ((DEPTH, classes), (classes,)), f"part {name!r} has shape {shape}, not [D, K] or [K]")
        expect(not np.isinf(values).any(), f"part {name!r} is infinite")
    return dict(parts)


def _check_direction(metric: Metric, found: Sequence[Mapping[str, FloatArray]]) -> None:
    means = [{name: _mean(values) for name, values in parts.items()} for parts in found]
    best, worst, nothing = (float(call("combine", metric.combine, mean)) for mean in means[:3])
    better = best > worst if metric.higher_is_better else best < worst
    expect(better, f"the truth scores {best:.4g}, its opposite {worst:.4g}; is higher_is_better right?")
    doubt(
        bool(np.isnan(nothing)) and all(np.isnan(values).all() for values in found[2].values()),
        "it is undefined wherever the prediction is empty, so a network that finds nothing there is not judged; give "
        "such a slice or scan its worst value, or say in the convention that it is left out",
    )


def _mean(values: FloatArray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
