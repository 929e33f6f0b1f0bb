"""The contract of normalizations: pure, a line, finite, within the range that it promises, picklable."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np

from gisegkit.data.intensities import UNITS, Intensities, Scale, apply, clips, keeps_zero, problem, scale_of
from gisegkit.errors import ComponentError, in_short
from gisegkit.testing.expect import call, doubt, expect, form
from gisegkit.types import AnyArray


def check_normalization(normalization: Any, *, size: tuple[int, int] = (24, 32), channels: int = 1) -> None:
    """A normalization gives the same line for the same values, also without contrast, and leaves images alone.

    Args:
        normalization: what the component's factory returns.
        size: H and W of the images that are tried, in pixels.
        channels: C of the images.

    Raises:
        ContractError: at the first violation.
    """
    over = getattr(normalization, "over", None)
    expect(over in UNITS, f"over is {over!r}; valid is {', '.join(map(repr, UNITS))}")
    _check_range(normalization)
    try:
        pickle.loads(pickle.dumps(normalization))
    except Exception as error:
        doubt(True, f"it cannot be pickled ({in_short(error)}), so worker processes that are not forked cannot use it")
    shape = (*size, channels)
    noise = np.random.default_rng(0).random(shape)
    tried: dict[str, AnyArray] = {
        "values from 0 to 4000": (noise * 4000).astype(np.uint16),
        "bytes": (noise * 256).astype(np.uint8),
        "values from -1024 to 3071": (noise * 4096 - 1024).astype(np.int16),
        "floats from 0 to 1": noise.astype(np.float32),
        "the same value everywhere": np.full(shape, 700, np.uint16),
        "zeros": np.zeros(shape, np.uint8),
    }
    taken = [_check_image(normalization, what, image) for what, image in tried.items()]
    expect(any(taken[:4]), "it takes none of the images that were tried: all leave the range that it promises")


def _check_range(normalization: Any) -> None:
    expect(hasattr(normalization, "range"), "it has no range; write (0, 1), for example, or None")
    limits = normalization.range
    if limits is not None:
        pair = isinstance(limits, tuple | list) and len(limits) == 2 and all(map(_is_number, limits))
        expect(pair and limits[0] < limits[1], f"range is {limits!r}; it must be a pair of rising numbers, or None")
    expect(
        limits is not None or not clips(normalization), "it clips, and range is None, so there is nothing to clip to"
    )
    expect(
        not (clips(normalization) and keeps_zero(normalization)),
        "it has both clips and keeps_zero, which says that nothing is cut off",
    )


def _check_image(normalization: Any, what: str, image: AnyArray) -> bool:
    """Whether the normalization takes an image."""
    kept = image.copy()
    top = float(np.iinfo(image.dtype).max) if image.dtype.kind in "iu" else 1.0
    images = () if keeps_zero(normalization) else (image, image[::-1])
    unit = Intensities(float(image.min()), float(image.max()), top, images)
    first, second = (_scale(normalization, what, unit) for _ in range(2))
    expect(np.array_equal(image, kept), f"{what}: it changes the image in place")
    expect(first == second, f"{what}: it gives {tuple(first)} and then {tuple(second)} for the same values")
    if problem(normalization, unit.minimum, unit.maximum, first):
        return False
    result = apply(normalization, image, first)
    expect(bool(np.isfinite(result).all()), f"{what}: the result, {form(result)}, is not finite")
    return True


def _scale(normalization: Any, what: str, unit: Intensities) -> Scale:
    try:
        return scale_of(normalization, unit)
    except ComponentError as error:
        expect(False, f"{what}: {error}")
        raise
    except Exception:
        return call(what, scale_of, normalization, unit)  # type: ignore[no-any-return]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
