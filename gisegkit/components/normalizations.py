"""Normalizations: what maps the intensities of files to the numbers that a network sees. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np

from gisegkit.data.intensities import Intensities, Scale
from gisegkit.errors import ComponentError
from gisegkit.types import Above, Between


class Maximum:
    """Divides by the maximum, so that 0 stays 0 and the largest value becomes 1.

    Images with negative values are refused. A unit without any value above 0 becomes zeros.

    Args:
        over: what the maximum is taken from: each slice, the slices that form the channels ([input] slices), or the
            whole scan.
    """

    keeps_zero = True
    range = (0.0, 1.0)

    def __init__(self, *, over: Literal["slice", "stack", "scan"] = "slice") -> None:
        self.over = over

    def scale(self, unit: Intensities) -> Scale:
        """From 0 to the maximum."""
        if unit.maximum > 0:
            return Scale(0.0, unit.maximum)
        return Scale(0.0, math.inf if unit.minimum == 0 else 1.0)  # 1 leaves negative values, which are refused


class Percentile:
    """Maps a low and a high percentile to 0 and 1, and clips what is beyond them.

    Both are taken of all pixels at native size, background included, with linear interpolation between values. A unit
    in which both are equal becomes zeros.

    Args:
        over: what the percentiles are taken from: each slice, the slices that form the channels ([input] slices), or
            the whole scan.
        low: the percentile that becomes 0.
        high: the percentile that becomes 1.

    Raises:
        ComponentError: if low is not below high.
    """

    clips = True
    range = (0.0, 1.0)

    def __init__(
        self,
        *,
        over: Literal["slice", "stack", "scan"] = "slice",
        low: Annotated[float, Between(0, 100)] = 1.0,
        high: Annotated[float, Between(0, 100)] = 99.0,
    ) -> None:
        if low >= high:
            raise ComponentError(f"normalization: low = {low:g} is not below high = {high:g}; give a lower one")
        self.over = over
        self.percentiles = (low, high)

    def scale(self, unit: Intensities) -> Scale:
        """From the low to the high percentile."""
        low, high = map(float, np.percentile(unit.pixels, self.percentiles))
        return Scale(low, high - low if high > low else math.inf)


class ZScore:
    """Subtracts the mean and divides by the standard deviation.

    Both are taken of all pixels at native size, background included. The result has no fixed range; where slices are
    padded, and in holes, it is 0, which is the mean. A unit in which all values are equal becomes zeros.

    Args:
        over: what mean and standard deviation are taken from: each slice, the slices that form the channels
            ([input] slices), or the whole scan.
    """

    range: tuple[float, float] | None = None

    def __init__(self, *, over: Literal["slice", "stack", "scan"] = "slice") -> None:
        self.over = over

    def scale(self, unit: Intensities) -> Scale:
        """The mean, and the standard deviation of the population, both computed in float64."""
        if unit.minimum == unit.maximum:  # a mean may be rounded, so that the deviation is not quite 0
            return Scale(unit.minimum, math.inf)
        count = sum(image.size for image in unit.images)
        mean = sum(float(image.sum(dtype=np.float64)) for image in unit.images) / count
        variance = (
            sum(float(np.square(np.subtract(image, mean, dtype=np.float64)).sum()) for image in unit.images) / count
        )
        return Scale(mean, math.sqrt(variance))


class Window:
    """An intensity window, as for CT: maps level - width / 2 to 0 and level + width / 2 to 1, and clips the rest.

    Values are in the units of the files: Hounsfield units for CT, if the files hold them. All slices are mapped alike,
    so the same value is the same gray everywhere, also in a slice without contrast. What is clipped cannot be told
    apart any more: below the window all is 0, above it all is 1. Slices are clipped at native size, before they are
    resized, and padding is 0.

    Args:
        level: the middle of the window, such as 40 for soft tissue of the abdomen.
        width: from its lower to its upper end, such as 400.
    """

    clips = True
    over = "slice"
    range = (0.0, 1.0)

    def __init__(self, *, level: float, width: Annotated[float, Above(0)]) -> None:
        self.level = level
        self.width = width

    def scale(self, unit: Intensities) -> Scale:
        """The same for every slice."""
        return Scale(self.level - self.width / 2, self.width)


class FileType:
    """Divides by the largest value that the files' type can hold, and leaves floats as they are.

    That is 255 for uint8, 65535 for uint16 and 32767 for int16. Images with negative values are refused, and so are
    floats above 1.
    """

    keeps_zero = True
    over = "slice"
    range = (0.0, 1.0)

    def scale(self, unit: Intensities) -> Scale:
        """From 0 to the largest value."""
        return Scale(0.0, unit.largest)


class Unchanged:
    """Leaves values as they are in the files, as float32; for files whose values are normalized already."""

    keeps_zero = True
    over = "slice"
    range: tuple[float, float] | None = None

    def scale(self, unit: Intensities) -> Scale:
        """Changes nothing."""
        return Scale(0.0, 1.0)
