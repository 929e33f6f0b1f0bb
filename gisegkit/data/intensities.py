"""What a normalization is given and what it gives: the intensities of a unit, and the line that maps them.

Imports neither torch nor OpenCV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from gisegkit.data.reading import largest
from gisegkit.errors import ComponentError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, FloatArray

UNITS = ("slice", "stack", "scan")
"""What a normalization can be taken from."""

SMALL = 1e-8
"""What every value that is not refused can be divided by in float32."""

ROUNDING = 1e-6
"""By how much a value may leave its range because of rounding."""


Limits = tuple[float, float, float]
"""Smallest and largest value of an image as its file has it, and the largest that the file's type can hold."""


@dataclass(frozen=True)
class Intensities:
    """The values of a unit: of one slice, of the slices of a stack, or of those of a scan.

    Attributes:
        minimum, maximum: over all values, as the files have them.
        largest: the largest value that the files' type can hold; 1 for floats.
        images: each ``[H, W, C]`` at native size; empty for a normalization with ``keeps_zero``.
    """

    minimum: float
    maximum: float
    largest: float
    images: tuple[AnyArray, ...] = ()

    @property
    def pixels(self) -> AnyArray:
        """All values, one after another."""
        return np.concatenate([image.reshape(-1) for image in self.images])


class Scale(NamedTuple):
    """A line that maps intensities: ``(value - offset) / divisor``.

    Attributes:
        offset: the value that becomes 0.
        divisor: above 0; infinite for a unit without contrast, which becomes zeros.
    """

    offset: float
    divisor: float


class Normalization(Protocol):
    """What a ``[normalization]`` component returns. It is pure: the same unit gives the same line.

    It may have two more attributes, both False by default. ``clips``: values beyond ``range`` are cut off.
    ``keeps_zero``: every offset is 0 and nothing is cut off, so that slices can be resized before, and are kept at the
    network's size; ``scale`` then sees no pixels, only minimum, maximum and largest. The others are applied at native
    size, before slices are resized and padded.

    Attributes:
        over: ``slice``, ``stack`` or ``scan``: what ``scale`` is given at once.
        range: the lowest and the highest value that can result, such as (0, 1); None if there are no such limits. An
            image that leaves the range is refused, unless the normalization clips.
    """

    over: str
    range: tuple[float, float] | None

    def scale(self, unit: Intensities) -> tuple[float, float]:
        """``Scale``, or the pair (offset, divisor)."""
        ...


def limits_of(image: AnyArray) -> Limits:
    """The limits of an image at native size, of any shape; the largest value of a type of floats is 1."""
    return float(image.min()), float(image.max()), largest(image.dtype)


def keeps_zero(normalization: Normalization) -> bool:
    """Whether a normalization does nothing but divide, see Normalization."""
    return bool(getattr(normalization, "keeps_zero", False))


def clips(normalization: Normalization) -> bool:
    """Whether a normalization cuts off what is beyond its range."""
    return bool(getattr(normalization, "clips", False))


def scale_of(normalization: Normalization, unit: Intensities) -> Scale:
    """The line of a unit, checked.

    Raises:
        ComponentError: if it is none.
    """
    given = normalization.scale(unit)
    try:
        offset, divisor = map(float, given)
    except (TypeError, ValueError):
        raise ComponentError(f"scale(unit) gives {given!r}, not the pair (offset, divisor)") from None
    if not (math.isfinite(offset) and divisor > 0):
        raise ComponentError(
            f"scale(unit) gives offset {offset:g}, divisor {divisor:g}; the offset must be finite, and the divisor "
            "above 0, or math.inf for a unit without contrast"
        )
    if offset and keeps_zero(normalization):
        raise ComponentError(f"scale(unit) gives the offset {offset:g}, and keeps_zero says that it is always 0")
    return Scale(offset, divisor)


def apply(normalization: Normalization, image: AnyArray, scale: Scale) -> FloatArray:
    """An image of any shape through its line, float32, cut off if the normalization clips."""
    if math.isinf(scale.divisor):
        return np.zeros(image.shape, dtype=np.float32)
    scaled: FloatArray = image.astype(np.float32)  # converted first: numpy does both at once only in small pieces
    scaled -= np.float32(scale.offset)
    scaled /= np.float32(scale.divisor)
    return scaled.clip(*normalization.range) if clips(normalization) and normalization.range else scaled


def problem(normalization: Normalization, low: float, high: float, scale: Scale) -> str:
    """What is wrong with an image of values from low to high under a line, in words; empty if nothing is.

    Fractions may differ so little, or be so small, that dividing by them leaves nothing that is a number.
    """
    if math.isinf(scale.divisor):
        return ""
    if scale.divisor <= SMALL:
        with np.errstate(all="ignore"):
            divisor = np.float32(scale.divisor)
            quotient = np.float32(max(abs(low), abs(high))) / divisor
        if not np.isfinite(quotient):
            return (
                f"its values, {low:g} to {high:g}, are not finite once they are divided by {float(divisor):g}; rescale "
                "the image, or choose another normalization"
            )
    if normalization.range is None or clips(normalization):
        return ""
    first, last = ((value - scale.offset) / scale.divisor for value in (low, high))
    lowest, highest = normalization.range
    if lowest - ROUNDING <= first and last <= highest + ROUNDING:
        return ""
    return (
        f"its values, {low:g} to {high:g}, would become {first:g} to {last:g}, and only {lowest:g} to {highest:g} is "
        'valid with this normalization; use "percentile", "zscore", "window" (CT) or, to leave values as they are, '
        '"none"'
    )
