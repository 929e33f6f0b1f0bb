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
    size = (size[0], max(size[1], 4 * classes))  # a box for each class, side by side
    given: Any = spacing_for("checked", metric, dict(zip(SPACING, spacing, strict=True)), place="check")
    truth, opposite = _masks(classes, size, exclusive)
    empty = np.zeros_like(truth)
    pairs = [(truth, truth), (opposite, truth), (empty, truth), (truth, empty), (empty, empty)]
    found = [_values(metric, prediction, reference, given, classes) for prediction, reference in pairs]
    with ThreadPoolExecutor(4) as pool:
        for before, after in zip(found * 4, pool.map(lambda pair: metric(*pair, **given), pairs * 4), strict=True):
            same = all(
                name in after and np.array_equal(values, after[name], equal_nan=True) for name, values in before.items()
            )
            expect(
                same, "asked again, by several threads at once, it gives other values; a call must change nothing in it"
            )
    there = _boxes(classes, size, 0)
    right, wrong = (_values(metric, _boxes(classes, size, place), there, given, classes) for place in (0, 1))
    _check_direction(metric, right, wrong, found[2])


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


def _boxes(classes: int, size: tuple[int, int], place: int) -> BoolArray:
    """A box for each class, side by side at the top (place 0) or at the bottom (1), ``[D, H, W, K]``."""
    height, width = size
    edges = np.linspace(1, width - 1, classes + 1).astype(int)
    masks = np.zeros((DEPTH, height, width, classes), dtype=bool)
    rows = slice(1, height // 3) if place == 0 else slice(-(height // 3), -1)
    for k in range(classes):
        masks[:, rows, edges[k] : max(edges[k] + 1, edges[k + 1] - 1), k] = True
    return masks


def _check_direction(
    metric: Metric,
    right: Mapping[str, FloatArray],
    wrong: Mapping[str, FloatArray],
    nothing: Mapping[str, FloatArray],
) -> None:
    """The truth scores better than boxes at another place; what finds nothing has a score."""
    means = [{name: _mean(values) for name, values in parts.items()} for parts in (right, wrong)]
    best, worst = (float(call("combine", metric.combine, mean)) for mean in means)
    better = best > worst if metric.higher_is_better else best < worst
    reason = f"the truth scores {best:.4g}, its opposite {worst:.4g}"
    expect(better or best == worst, f"{reason}; is higher_is_better right?")
    doubt(best == worst, f"{reason}: it does not tell them apart")
    told = any(word in metric.convention for word in ("skipped", "left out"))
    doubt(
        not told and all(np.isnan(values).all() for values in nothing.values()),
        "it is undefined wherever the prediction is empty, so a network that finds nothing there is not judged; give "
        "such a slice or scan its worst value, or say in the convention that it is skipped",
    )


def _mean(values: FloatArray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
