"""What a dataset's slices and masks hold, as far as the choices of a recipe need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gisegkit.errors import DataError, count
from gisegkit.types import Dataset, Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.types import AnyArray, BoolArray

MOST = 200
"""Slices that are read at most, spread over those with a class."""

PIXELS = 2000
"""Pixels of a slice, and of the classes in it, that its percentiles are taken from."""


@dataclass(frozen=True)
class Facts:
    """What a dataset holds.

    Attributes:
        slices, labelled, scans, cases: how many; scans and cases of labelled slices.
        looked: slices that were read.
        size: median height and width in pixels.
        sizes: smallest and largest (height, width), by area.
        stretch: largest ratio of width to height, over the smallest.
        step: most frequent distance of a slice to the next of its scan; 0 if no scan has two.
        neighbors: share of the slices with a neighbor at that distance.
        dtype: of the images, or several joined by commas.
        channels: of an image.
        low, high: lowest and highest value.
        exposure: highest over lowest of the slices' own 99th percentiles, without the outermost tenths.
        inside: percentiles 0.5 and 99.5 of the pixels in classes.
        exclusive: whether a pixel has at most one class.
        shares: of each class, its share of all pixels of labelled slices.
        present: of each class, the share of labelled slices that have it.
        widths: of each class, the median width of its objects in pixels, see ``width``.
        gap: width of what is between the classes.
        given: how many slices train and validate where the data say so themselves; None where folds are to be drawn.
    """

    slices: int
    labelled: int
    scans: int
    cases: int
    looked: int
    size: tuple[int, int]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    stretch: float
    step: int
    neighbors: float
    dtype: str
    channels: int
    low: float
    high: float
    exposure: float
    inside: tuple[float, float]
    exclusive: bool
    shares: Mapping[str, float]
    present: Mapping[str, float]
    widths: Mapping[str, float]
    gap: float
    given: tuple[int, int] | None = None

    @property
    def thinnest(self) -> float:
        """Width in pixels of the finest structure that is to be told apart."""
        return min(*self.widths.values(), self.gap)

    @property
    def absent(self) -> list[str]:
        """Classes that no slice that was read has."""
        return [name for name, share in self.shares.items() if not share]

    @property
    def rarest(self) -> float:
        """The smallest share of pixels that a class has which occurs."""
        return min(share for share in self.shares.values() if share)


def look(dataset: Dataset, *, most: int = MOST, progress: Progress = silent) -> Facts:
    """Read some slices of a dataset with their masks.

    Args:
        most: slices that are read at most.

    Raises:
        DataError: if one cannot be read or has values that are not finite, channels differ, or no slice has a class.
    """
    table = dataset.table
    labelled = table[table["labelled"].to_numpy(dtype=bool)]
    filled = labelled.index[~labelled["empty"].to_numpy(dtype=bool)].to_numpy()
    if not len(filled):
        raise DataError(f"none of the {len(labelled)} slices with masks has a pixel of a class; are these the masks?")
    chosen = np.unique(filled[np.linspace(0, len(filled) - 1, min(most, len(filled))).astype(int)])
    images, masks = Images(), Masks(dataset.classes)
    for row in progress(chosen.tolist(), "looking", len(chosen)):
        image, mask = np.asarray(dataset.image(row)), np.asarray(dataset.mask(row)) == 1
        images.add(image, mask.any(axis=2), name=str(table["id"].iat[row]))
        masks.add(mask)
    pixels = int((labelled["height"] * labelled["width"]).sum())
    return Facts(
        slices=len(table),
        labelled=len(labelled),
        scans=labelled["scan"].nunique(),
        cases=labelled["case"].nunique(),
        looked=len(chosen),
        **_sizes(labelled),
        **_neighbors(labelled),
        **images.facts(),
        exclusive=dataset.exclusive,
        **masks.facts(filled=len(filled), labelled=len(labelled), pixels=pixels),
        given=_given(dataset),
    )


def _given(dataset: Dataset) -> tuple[int, int] | None:
    parts: pd.DataFrame | None = getattr(dataset, "parts", None)
    if parts is None:
        return None
    return int((parts["part"] == "train").sum()), int((parts["part"] == "validation").sum())


def _sizes(table: pd.DataFrame) -> dict[str, Any]:
    sizes = table[["height", "width"]].to_numpy(dtype=np.int64)  # [N, 2]
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    ratios = sizes[:, 1] / sizes[:, 0]
    height, width = (int(value) for value in np.median(sizes, axis=0))
    ends = tuple((int(sizes[row, 0]), int(sizes[row, 1])) for row in (order[0], order[-1]))
    return {"size": (height, width), "sizes": ends, "stretch": float(ratios.max() / ratios.min())}


def _neighbors(table: pd.DataFrame) -> dict[str, Any]:
    scans, positions = table["scan"].to_numpy(dtype=str), table["position"].to_numpy(dtype=np.int64)
    gaps = np.diff(positions)[scans[1:] == scans[:-1]]
    if not len(gaps):
        return {"step": 0, "neighbors": 0.0}
    values, counts = np.unique(gaps, return_counts=True)
    step = int(values[counts.argmax()])
    there = set(zip(scans.tolist(), positions.tolist(), strict=True))
    beside = [(scan, place - step) in there or (scan, place + step) in there for scan, place in there]
    return {"step": step, "neighbors": float(np.mean(beside))}


class Images:
    """The intensities of the images."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.channels: dict[int, str] = {}
        self.ends: list[tuple[float, float]] = []
        self.bright: list[float] = []
        self.inside: list[AnyArray] = []

    def add(self, image: AnyArray, classes: BoolArray, *, name: str) -> None:
        """Take in an image ``[H, W]`` or ``[H, W, C]`` and where it has a class, ``[H, W]``."""
        if not np.isfinite(image).all():
            raise DataError(f"image {name} has values that are not finite (NaN or infinity); replace them first")
        self.types.add(str(image.dtype))
        self.channels.setdefault(image.shape[2] if image.ndim == 3 else 1, name)
        if len(self.channels) > 1:
            those = " and ".join(f"{one} has {count(number, 'channel')}" for number, one in self.channels.items())
            raise DataError(f"images have different channels: {those}; save all in gray or all in color")
        self.ends.append((float(image.min()), float(image.max())))
        self.bright.append(float(np.percentile(image, 99)))
        inside = image[classes].reshape(-1)
        self.inside.append(inside[:: max(1, len(inside) // PIXELS)])

    def facts(self) -> dict[str, Any]:
        """Their facts."""
        inside = np.concatenate(self.inside)
        low, high = min(low for low, _ in self.ends), max(high for _, high in self.ends)
        darker, brighter = np.percentile(self.bright, (10, 90))
        return {
            "dtype": ", ".join(sorted(self.types)),
            "channels": next(iter(self.channels)),
            "low": low,
            "high": high,
            "exposure": float(brighter / darker) if darker > 0 else 1.0,
            "inside": tuple(map(float, np.percentile(inside, (0.5, 99.5)))) if len(inside) else (low, high),
        }


class Masks:
    """Shares and widths of the classes."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.counts: list[AnyArray] = []
        self.widths: dict[str, list[float]] = {name: [] for name in classes}
        self.gaps: list[float] = []

    def add(self, mask: BoolArray) -> None:
        """Take in a mask ``[H, W, K]``."""
        self.counts.append(mask.sum(axis=(0, 1)))
        for index, name in enumerate(self.classes):
            self.widths[name].extend(widths(mask[:, :, index]))
        around = np.asarray(~mask.any(axis=2))
        if around.any() and not around.all():
            self.gaps.append(width(around))

    def facts(self, *, filled: int, labelled: int, pixels: int) -> dict[str, Any]:
        """Their facts, for all labelled slices, of which some are filled, and the number of their pixels."""
        counts = np.array(self.counts)  # [N, K]
        side = float("inf")
        return {
            "shares": dict(zip(self.classes, (counts.mean(axis=0) * filled / pixels).tolist(), strict=True)),
            "present": dict(zip(self.classes, ((counts > 0).mean(axis=0) * filled / labelled).tolist(), strict=True)),
            "widths": {name: float(np.median(found)) if found else side for name, found in self.widths.items()},
            "gap": float(np.median(self.gaps)) if self.gaps else side,
        }


def _distances(plane: BoolArray) -> AnyArray:
    """Of each pixel to the nearest pixel that is not in the plane, in pixels; the image's border is none."""
    if plane.all():
        return np.full(plane.shape, min(plane.shape) / 4, dtype=np.float32)
    return cv2.distanceTransform(plane.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def width(plane: BoolArray) -> float:
    """The width in pixels of what is in a plane ``[H, W]``: four times the mean distance to its edge, less two.

    That is the width of a long strip (distances 1, 2 ... w / 2 ... 2, 1 have the mean (w + 2) / 4), and about two
    thirds of a disk's diameter.
    """
    return float(4 * _distances(plane)[plane].mean() - 2)


def widths(plane: BoolArray) -> list[float]:
    """The width of each connected object in a plane ``[H, W]``."""
    number, labels = cv2.connectedComponents(plane.astype(np.uint8), connectivity=8)
    flat = labels.reshape(-1)
    sizes = np.bincount(flat, minlength=number)[1:]
    sums = np.bincount(flat, weights=_distances(plane).reshape(-1), minlength=number)[1:]
    return (4 * sums / sizes - 2).tolist() if number > 1 else []
