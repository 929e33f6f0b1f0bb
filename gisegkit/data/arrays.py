"""Slices in memory as a data set without labels: one scan, of arrays whose form is told from their shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gisegkit.data.reading import not_finite
from gisegkit.errors import DataError
from gisegkit.types import AnyArray, Dropped, MaskArray

NARROW = 4
"""A last axis up to this is taken for channels; no slice is that narrow."""

LAYOUTS = {
    True: "[H, W] for one slice, [D, H, W] for a scan",
    False: "[H, W, {channels}] for one slice, [D, H, W, {channels}] for a scan",
}
"""The valid forms, by whether slices are gray."""


class Arrays:
    """Slices of one scan in memory, in order, as a data set.

    Args:
        slices: arrays ``[H, W, C]`` of one shape.
        classes: names of the K classes.
    """

    exclusive = False
    dropped: tuple[Dropped, ...] = ()

    def __init__(self, slices: Sequence[AnyArray], classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.slices = slices
        columns = {
            "id": [f"images[{row}]" for row in range(len(slices))],
            "scan": "images",
            "position": np.arange(len(slices)),
            "case": "images",
            "height": [int(image.shape[0]) for image in slices],
            "width": [int(image.shape[1]) for image in slices],
            "labelled": False,
            "empty": False,
        }
        self.table = pd.DataFrame(columns)

    def image(self, row: int) -> AnyArray:
        """The slice ``[H, W, C]``."""
        return np.ascontiguousarray(self.slices[row])

    def mask(self, row: int) -> MaskArray:
        """Raises DataError: no slice is labelled."""
        raise DataError(f"images[{row}] has no mask: slices in memory are not labelled")


def slices_of(images: AnyArray | Sequence[AnyArray], *, channels: int, stack: int) -> tuple[list[AnyArray], bool]:
    """The slices of one scan, ``[H, W, C]`` each, and whether a single slice was given rather than a scan.

    Three dimensions are told apart by the channels: for a network of colors ``[H, W, C]`` is one slice; for a network
    of gray slices ``[D, H, W]`` is a scan and ``[H, W, 1]`` one slice.

    Args:
        images: one slice, a scan as one array, or a list or tuple of slices.
        channels: C of a slice that the network was trained on.
        stack: slices that the network sees at once; what is stacked already is refused.

    Raises:
        DataError: if the images have another form, type or number of channels, or values that are not finite.
    """
    if isinstance(images, list | tuple):
        if not images:
            raise DataError(f"images is empty; give {_layouts(channels)}, or a list of slices")
        single, listed = False, [_numbers(image, f"images[{row}]") for row, image in enumerate(images)]
    else:
        array = _numbers(images, "images")
        single = _is_one_slice(array.shape, channels, stack)
        listed = [array] if single else list(array)
    slices = [
        _with_channels(array, "images" if single else f"images[{row}]", channels) for row, array in enumerate(listed)
    ]
    for row, image in enumerate(slices):
        if image.shape != slices[0].shape:
            raise DataError(
                f"images[{row}] is {image.shape[0]} x {image.shape[1]} (height x width), images[0] is "
                f"{slices[0].shape[0]} x {slices[0].shape[1]}: slices of a scan have one size; predict scan by scan"
            )
    return slices, single


def _numbers(images: object, name: str) -> AnyArray:
    """An array of a type that a data set may have: integers of one or two bytes, or float32."""
    try:
        array = np.asarray(images)
    except Exception as error:  # of any library whose arrays these are, such as a tensor on a GPU
        raise DataError(f"{name} cannot be read as an array: {error}") from error
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what becomes infinite is refused
            array = array.astype(np.float32, copy=False)
    elif array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    else:
        raise DataError(
            f"{name}: {type(images).__name__} of type {array.dtype}; give an array of uint8, uint16, int16 or "
            "float32, as the training data are"
        )
    if not array.size:
        raise DataError(f"{name} is empty: its shape is {list(array.shape)}")
    if problem := not_finite(array):
        raise DataError(f"{name}: {problem}; write 0 there, for example")
    return array


def _is_one_slice(shape: tuple[int, ...], channels: int, stack: int) -> bool:
    """Whether an array is one slice rather than a scan."""
    last = shape[-1] if shape else 0
    if len(shape) == 4 or (len(shape) == 3 and channels == 1 and last > max(NARROW, stack)):
        return False
    if len(shape) == 2 or (len(shape) == 3 and last == channels):
        return True
    if len(shape) == 3 and channels == 1:
        raise DataError(
            f"images of shape {list(shape)} are ambiguous: the network was trained on gray slices, so this would be a "
            f"scan of {shape[0]} slices, {shape[1]} x {last}; if it is, give [D, H, W, 1]. If the last axis holds "
            f"channels or slices, give {_layouts(channels)}"
        )
    raise _misshapen("images", shape, channels)


def _with_channels(array: AnyArray, name: str, channels: int) -> AnyArray:
    """A slice as ``[H, W, C]``."""
    image = array[:, :, None] if array.ndim == 2 else array
    if image.ndim == 3 and image.shape[2] == channels:
        return image
    raise _misshapen(name, array.shape, channels)


def _misshapen(name: str, shape: tuple[int, ...], channels: int) -> DataError:
    trained = "gray slices" if channels == 1 else f"slices of {channels} channels"
    return DataError(
        f"{name} has the shape {list(shape)}, and the network was trained on {trained}; give {_layouts(channels)}"
    )


def _layouts(channels: int) -> str:
    return LAYOUTS[channels == 1].format(channels=channels)
