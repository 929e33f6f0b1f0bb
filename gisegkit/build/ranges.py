"""Whether images have the range that an augmentation policy or a batch transform needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gisegkit.data.intensities import Normalization
from gisegkit.data.reading import name_of
from gisegkit.errors import ComponentError

if TYPE_CHECKING:
    from gisegkit.build.data import ExperimentData

T = TypeVar("T")


def in_range(component: T, data: ExperimentData) -> T:
    """A policy or batch transform, after a look at the range that it needs.

    Raises:
        ComponentError: if the normalization of the data does not keep that range.
    """
    if text := out_of_range(component, data.normalization):
        raise ComponentError(f"{data.recipe.normalization.place}: {text}")
    return component


def out_of_range(component: Any, normalization: Normalization) -> str:
    """Why a policy or batch transform cannot be used with a normalization, in words; empty if it can.

    Args:
        component: one that clips, or that is only defined between two values, has an attribute ``range``, such as
            (0, 1), and may name in ``clipping`` what of it does.
    """
    given, needed = normalization.range, getattr(component, "range", None)
    if needed is None or (given is not None and needed[0] <= given[0] and given[1] <= needed[1]):
        return ""
    steps = getattr(component, "clipping", ())
    those = f" ({', '.join(steps)})" if steps else ""
    gives = "has no fixed range" if given is None else f"gives values from {given[0]:g} to {given[1]:g}"
    return (
        f"{name_of(component)} cuts off what is not between {needed[0]:g} and {needed[1]:g}{those}, and "
        f"{name_of(normalization)} {gives}; use the normalization maximum, percentile or window, or leave out what "
        "cuts off: the batch transform intensity does not"
    )
