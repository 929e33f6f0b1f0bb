"""The competition's Hausdorff distance against scipy on all voxels, and against MONAI's distances between surfaces.

python benchmarks/hausdorff.py [--scans 20]

Whole scans of 144 x 266 x 266 and 3 classes, one after another; every value is compared with scipy's. scipy stops its
inner loop early where errors are large, and hardly ever where they are mild and scattered. It wants coordinates: taking
them of a whole scan, as published code does, is most of its time where errors are large. So both are measured there a
second time with each class's box cut out for them outside the clock.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from harness import Row, by_turns, compare, save
from monai.metrics import compute_hausdorff_distance
from scans import truths, with_large_errors, with_mild_errors
from scipy.spatial.distance import directed_hausdorff

from gisegkit.components.metrics.distances import class_boxes, hausdorff
from gisegkit.components.metrics.overlap_metrics import UWMGIScore

BOXES, OUR_BOXES = "scipy, all voxels, boxes cut out before", "gisegkit, boxes cut out before"

warnings.filterwarnings("ignore", category=FutureWarning, module="monai")


def scipy_way(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """On all voxels, both directions, coordinates divided by the size of their axis."""
    return scipy_boxes([(prediction[..., k], truth[..., k]) for k in range(truth.shape[3])], truth.shape[:3])


def scipy_boxes(pairs: list[tuple[np.ndarray, np.ndarray]], size: tuple[int, ...]) -> np.ndarray:
    """The same for pairs of masks that may have been cut out of scans of that size."""
    found = []
    for pair in pairs:
        a, b = (np.argwhere(mask) / np.array(size) for mask in pair)
        found.append(max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0]) / math.sqrt(3))
    return np.array(found)


def monai_way(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Between surfaces, which is another number where one solid lies inside another."""
    pair = [torch.from_numpy(np.moveaxis(mask, 3, 0)[None].astype(np.float32)) for mask in (prediction, truth)]
    spacing = [1 / size for size in truth.shape[:3]]
    return compute_hausdorff_distance(*pair, include_background=True, spacing=spacing)[0].numpy() / math.sqrt(3)


def ours(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The metric's own part, without Dice."""
    return UWMGIScore()._hausdorff(prediction, truth)


def our_boxes(pairs: list[tuple[np.ndarray, np.ndarray]], size: tuple[int, ...]) -> np.ndarray:
    """As ``scipy_boxes``."""
    return np.array([hausdorff(*pair, spacing=[1 / voxels for voxels in size]) / math.sqrt(3) for pair in pairs])


def rows_of(
    kind: str, pairs: list[tuple[np.ndarray, np.ndarray]], targets: dict[str, float | None], *, repetitions: int
) -> list[Row]:
    """Ours against the others, over all scans; the values that were timed must be scipy's."""
    found: dict[str, list[np.ndarray]] = {}

    def over_all(name: str, way: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[], None]:
        def call() -> None:
            found[name] = [way(*pair) for pair in pairs]

        return call

    ways = {"gisegkit": ours, "scipy, all voxels": scipy_way, "MONAI, surfaces": monai_way}
    calls = {name: over_all(name, way) for name, way in ways.items()}
    if BOXES in targets:
        boxes = [[tuple(map(np.ascontiguousarray, box)) for box in class_boxes(*pair)] for pair in pairs]
        sizes = [truth.shape[:3] for _, truth in pairs]
        calls[OUR_BOXES] = lambda: list(map(our_boxes, boxes, sizes)) and None
        calls[BOXES] = lambda: list(map(scipy_boxes, boxes, sizes)) and None
    measured = by_turns(calls, repetitions=repetitions, warm_up=0)
    off = max(np.abs(a - b).max() for a, b in zip(found["gisegkit"], found["scipy, all voxels"], strict=True))
    if off > 1e-9:
        raise SystemExit(f"{kind}: differs from scipy on all voxels by {off}")
    return [
        compare(
            f"Hausdorff distance of {len(pairs)} scans of 144 x 266 x 266, 3 classes, {kind} errors",
            measured,
            ours=OUR_BOXES if name == BOXES else "gisegkit",
            baseline=name,
            unit="s",
            higher_is_better=False,
            target=target,
            note=f"equal to scipy's to {off:.0e}" if name == "scipy, all voxels" else "",
        )
        for name, target in targets.items()
    ]


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=20)
    scans = parser.parse_args().scans
    rng = np.random.default_rng(0)
    solids = list(truths(scans))
    large = [(with_large_errors(truth, rng), truth) for truth in solids]
    rows = rows_of("large", large, {"scipy, all voxels": 2.5, BOXES: 2.5, "MONAI, surfaces": 4.0}, repetitions=3)
    del large
    mild = [(with_mild_errors(truth, rng), truth) for truth in solids]
    others = {"scipy, all voxels": 20.0, "MONAI, surfaces": None}
    rows += rows_of("mild, scattered", mild, others, repetitions=2)
    save(
        "hausdorff",
        "The competition's Hausdorff distance is exact on all voxels and fast enough for every epoch",
        rows,
        packages=("gisegkit", "numpy", "scipy", "monai", "torch"),
        settings={"scans": scans, "seed": 0, "torch threads": torch.get_num_threads()},
    )


if __name__ == "__main__":
    main()
