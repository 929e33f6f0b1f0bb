"""hd95, assd and nsd in mm on slices of 266 x 266 against MONAI's, with large and with mild errors.

python benchmarks/surface.py [--scans 1]

Both sides get the whole scan in the form that they want; every value is compared before anything is timed. MONAI warns
of each empty mask; its warnings are switched off, since printing would be slow.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from harness import Row, by_turns, compare, save
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scans import truths, with_large_errors, with_mild_errors

from gisegkit.components.metrics.surface_metrics import ASSD, HD95, NSD

warnings.filterwarnings("ignore")

SPACING = (1.5, 1.5)  # mm
TOLERANCE = 3.0  # mm
Values = Callable[[], np.ndarray]


def ways(prediction: np.ndarray, truth: np.ndarray) -> dict[str, tuple[Values, Values]]:
    """For each metric gisegkit's values and MONAI's, ``[D, K]``."""
    pair = [
        torch.from_numpy(np.ascontiguousarray(np.moveaxis(mask, 3, 1)).astype(np.float32))
        for mask in (prediction, truth)
    ]
    options = {"include_background": True, "spacing": SPACING}
    ours = {"hd95": HD95(unit="slice"), "assd": ASSD(unit="slice"), "nsd": NSD(unit="slice", tolerance=TOLERANCE)}
    monai = {
        "hd95": partial(compute_hausdorff_distance, *pair, percentile=95, **options),
        "assd": partial(compute_average_surface_distance, *pair, symmetric=True, **options),
        "nsd": partial(compute_surface_dice, *pair, class_thresholds=[TOLERANCE] * truth.shape[3], **options),
    }
    return {
        name: (
            lambda name=name, metric=metric: metric(prediction, truth, spacing=SPACING)[name],
            lambda name=name: monai[name]().numpy(),
        )
        for name, metric in ours.items()
    }


def rows_of(kind: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[Row]:
    """A row a metric, over all scans."""
    scans = [ways(*pair) for pair in pairs]
    rows = []
    for name in scans[0]:
        off = 0.0
        for scan in scans:
            values, others = (way() for way in scan[name])
            defined = np.isfinite(others)
            apart = np.abs(values - others)[defined] / np.maximum(1, others[defined])
            off = max(off, float(apart.max()))
        if off > 1e-5:
            raise SystemExit(f"{name}, {kind}: differs from MONAI's by {off} of the value")
        sides = {
            label: lambda name=name, side=side: [scan[name][side]() for scan in scans] and None
            for side, label in enumerate(("gisegkit", "MONAI"))
        }
        slices = sum(len(truth) for _, truth in pairs)
        rows.append(
            compare(
                f"{name} of {slices} slices of 266 x 266, 3 classes, {kind} errors",
                by_turns(sides, repetitions=5),
                ours="gisegkit",
                baseline="MONAI",
                unit="s",
                higher_is_better=False,
                target=10.0,
                note=f"equal to {off:.0e} mm, of values above 1 mm to {off:.0e} of the value: MONAI's are float32",
            )
        )
    return rows


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=1)
    scans = parser.parse_args().scans
    rng = np.random.default_rng(0)
    solids = list(truths(scans))
    rows = rows_of("large", [(with_large_errors(truth, rng), truth) for truth in solids])
    rows += rows_of("mild, scattered", [(with_mild_errors(truth, rng), truth) for truth in solids])
    save(
        "surface",
        "Surface distances in mm equal MONAI's and take a fraction of the time",
        rows,
        packages=("gisegkit", "numpy", "scipy", "monai", "torch"),
        settings={"scans": scans, "seed": 0, "torch threads": torch.get_num_threads()},
    )


if __name__ == "__main__":
    main()
