"""A dataset's own readers, called so that whatever goes wrong names the slice, and the plugin whose code it was.

Imports neither torch nor OpenCV.
"""

from __future__ import annotations

import contextlib
import inspect
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gisegkit.errors import ComponentError, DataError, GisegError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gisegkit.types import AnyArray, Dataset, MaskArray

LARGEST = 1e30
"""A larger value is no intensity but what a program fills gaps with, and float32 overflows when such are added up."""

SHOWN = 20
"""Slices that an error lists."""


def read_slice(dataset: Dataset, row: int) -> AnyArray:
    """The image of a row, ``[H, W, C]``, in the file's own depth.

    Raises:
        DataError: if the slice cannot be read.
        ComponentError: if the dataset is a plugin's and fails, or gives no image; names plugin and slice.
    """
    image = _called(dataset, "image", dataset.image, row)
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        raise ComponentError(
            f"{name_of(dataset)}: image({row}) gives {_form(image)} for slice {id_of(dataset, row)}, not [H, W] or "
            "[H, W, C]"
        )
    return image[:, :, None] if image.ndim == 2 else image


def read_mask(dataset: Dataset, row: int) -> MaskArray:
    """The mask of a row, ``[H, W, K]`` uint8 with IGNORE.

    Raises:
        DataError: if the slice is not labelled, or cannot be read.
        ComponentError: if the dataset is a plugin's and fails, or gives no mask; names plugin and slice.
    """
    mask = _called(dataset, "mask", dataset.mask, row)
    classes = len(dataset.classes)
    if isinstance(mask, np.ndarray) and mask.ndim == 3 and mask.shape[2] == classes:
        if mask.dtype == np.uint8:
            return mask
        with np.errstate(invalid="ignore"):
            whole: MaskArray = mask.astype(np.uint8)
        if (whole == mask).all():
            return whole
    raise ComponentError(
        f"{name_of(dataset)}: mask({row}) gives {_form(mask)} for slice {id_of(dataset, row)}, not [H, W, {classes}] "
        "uint8 of 0, 1 and IGNORE"
    )


def check_size(dataset: Dataset, row: int, **arrays: AnyArray | None) -> None:
    """Refuse images or masks, by what they are, that have not the size that the dataset's table says.

    Raises:
        DataError: if one has another size; names the slice.
    """
    height, width = (int(dataset.table[side].to_numpy()[row]) for side in ("height", "width"))
    for what, array in arrays.items():
        if array is not None and array.shape[:2] != (height, width):
            raise DataError(
                f"{what} of slice {id_of(dataset, row)} is {array.shape[0]} x {array.shape[1]} (height x width), but "
                f"the table of {name_of(dataset)} says {height} x {width}"
            )


# --- values of pixels ---


def largest(dtype: np.dtype[Any]) -> float:
    """The largest value that a type can hold; 1 for floats."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0


def are_finite(low: float, high: float) -> bool:
    """Whether pixels between these two are numbers that float32 can be computed with; NaN is not."""
    return low >= -LARGEST and high <= LARGEST


def not_finite(image: AnyArray) -> str:
    """What is wrong with the values of an image, in words; empty if nothing is."""
    if image.dtype.kind != "f" or are_finite(float(image.min()), float(image.max())):
        return ""
    nan, infinite = int(np.isnan(image).sum()), int(np.isinf(image).sum())
    if nan or infinite:
        return f"{nan + infinite} of {image.size} values are not finite ({nan} NaN, {infinite} infinite)"
    large = int((np.abs(image) > LARGEST).sum())
    return f"{large} of {image.size} values are beyond {LARGEST:.0e}, too large to compute with (a fill value?)"


def not_finite_line(dataset: Dataset, row: int) -> str:
    """Which image has values that no network can use, how many, and what to do; reads the image again."""
    try:
        problem = not_finite(read_slice(dataset, row))
    except GisegError:
        problem = ""
    problem = problem or "it has values that are not finite"
    return f"{image_name(dataset, row)}: {problem}; repair the file (e.g. write 0 there), or leave the image out"


def refuse_not_finite(dataset: Dataset, rows: Iterable[int]) -> None:
    """Name all images with values that no network can use.

    Raises:
        DataError: if there is one.
    """
    rows = list(rows)
    if rows:
        more = f"\n... and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        raise DataError("\n".join(not_finite_line(dataset, row) for row in rows[:SHOWN]) + more)


# --- names ---


def id_of(dataset: Dataset, row: int) -> str:
    """The id of a row."""
    return str(dataset.table["id"].iat[row])


def image_name(dataset: Dataset, row: int) -> str:
    """An image by its id, and by its file where the dataset tells it."""
    name = f"image {id_of(dataset, row)}"
    if hasattr(dataset, "sources"):
        with contextlib.suppress(Exception):  # a plugin's own, and no reason to lose the error that is being told
            name += f" ({dataset.sources(row)[0][0]})"
    return name


def name_of(component: Any) -> str:
    """A component by its recipe's name and its plugin, see ``build_component``; else by its code."""
    kind = component if hasattr(component, "__qualname__") else type(component)
    return getattr(component, "registered_as", "") or f"{kind.__module__}.{kind.__qualname__}"


# --- defects of plugins ---


def _called(dataset: Dataset, reader: str, read: Callable[[int], Any], row: int) -> Any:
    try:
        return read(row)
    except (GisegError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"{reader} {id_of(dataset, row)}: cannot be read ({error})") from error
    except Exception as error:
        raise_defect(dataset, f"{reader}({row})", id_of(dataset, row), error)


def raise_defect(component: Any, call: str, name: str, error: Exception) -> NoReturn:
    """Raise what a component of a plugin raised, naming plugin and slice; what is gisegkit's own stays as it is.

    Raises:
        ComponentError: with the original error as its cause, whose traceback ``giseg --debug`` shows.
    """
    kind = component if hasattr(component, "__qualname__") else type(component)
    if kind.__module__.partition(".")[0] == "gisegkit":
        error.add_note(f"{call} of {name_of(component)}, slice {name}")
        raise error
    raise ComponentError(
        f"{name_of(component)}: {call} raised {type(error).__name__} for slice {name}: {error} "
        f"({_place(kind, error)}); giseg --debug shows the traceback"
    ) from error


def _place(kind: Any, error: Exception) -> str:
    """File and line at which a component's own code failed, or at which what it called did."""
    frames = traceback.extract_tb(error.__traceback__)
    module = inspect.getmodule(kind)
    own = [frame for frame in frames if module is not None and frame.filename == getattr(module, "__file__", None)]
    last = (own or frames)[-1]
    return f"{last.filename}:{last.lineno}"


def _form(value: Any) -> str:
    return f"{list(value.shape)} {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
