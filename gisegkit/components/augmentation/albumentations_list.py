"""The policy ``albumentations``: any list of albumentations' transforms, written in the recipe."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import albumentations as library
import cv2
import numpy as np

from gisegkit.components.augmentation.albumentations_policy import AlbumentationsPolicy
from gisegkit.errors import ComponentError, did_you_mean
from gisegkit.registry.annotations import show
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    from gisegkit.components.augmentation.none import Policy

GROUPS = ("OneOf", "SomeOf", "Sequential", "RandomOrder")
"""Transforms that hold a list of transforms."""

BOTH = "p is a number between 0 and 1, n a whole number of 1 or more"

OWN = ("name", "transforms")
"""Keys of a step that are no parameters."""


def albumentations(*, size: tuple[int, int], steps: list[dict[str, Any]]) -> Policy:
    """Any list of albumentations' transforms, in the order written.

    Images are float32 in about 0 to 1, with as many channels as [input] makes; masks take the nearest pixel. Steps that
    would change the size, need more than one image, or have a parameter that the library would ignore are refused.

    Args:
        size: height and width of the samples in pixels.
        steps: one table a step, with the transform's name, its parameters as albumentations spells them, and, for
            OneOf, SomeOf, Sequential and RandomOrder, transforms: a list of such tables.

    Returns:
        ``(image [H, W, C], mask [H, W, K], rng)`` to the same pair, augmented.

    Raises:
        ComponentError: if there is no such transform or parameter, a value is wrong, or a step cannot be used; names
            the step by its place in the list.
    """
    if not steps:
        raise ComponentError('augmentation.steps is empty; name at least one transform, or write name = "none"')
    built = [_step(f"augmentation.steps[{index}]", step, size) for index, step in enumerate(steps)]
    return AlbumentationsPolicy(lambda: built)


def transforms() -> dict[str, type[Any]]:
    """The library's transforms for images and masks, and the groups, by name."""
    found = {}
    for name in dir(library):
        item = getattr(library, name)
        single = inspect.isclass(item) and issubclass(item, library.ImageOnlyTransform | library.DualTransform)
        if name in GROUPS or (single and not inspect.isabstract(item) and name not in _BASES):
            found[name] = item
    return found


_BASES = ("ImageOnlyTransform", "DualTransform", "Transform3D")


def _step(place: str, step: Any, size: tuple[int, int]) -> Any:
    """The transform that a table describes, tried out."""
    if not isinstance(step, Mapping) or not isinstance(step.get("name"), str):
        raise ComponentError(f'{place} = {show(step)}: a step is a table with a name, {{name = "HorizontalFlip"}}')
    name, known = step["name"], transforms()
    if name not in known:
        raise ComponentError(
            f"{place}: there is no transform {name!r}; "
            + " ".join(filter(None, [did_you_mean(name, known), "All: the documentation of albumentations 2.0."]))
        )
    kind = known[name]
    params = {key: value for key, value in step.items() if key not in OWN}
    valid = [key for key in inspect.signature(kind.__init__).parameters if key not in ("self", "transforms")]
    for key in params:
        if key not in valid:
            nearest = did_you_mean(key, valid)
            raise ComponentError(
                f"{place}: {name} has no parameter {key!r}; {nearest + ' ' if nearest else ''}Valid: {', '.join(valid)}"
            )
    if name in GROUPS:
        if not 0 <= _number(place, "p", step.get("p", 0.5)) <= 1 or _number(place, "n", step.get("n", 1)) < 1:
            raise ComponentError(
                f"{place}: {name} has p = {show(step.get('p', 0.5))}, n = {show(step.get('n', 1))}; {BOTH}"
            )
        return _built(place, kind, {**params, "transforms": _inner(place, name, step.get("transforms"), size)})
    if "transforms" in step:
        raise ComponentError(f"{place}: {name} holds no transforms; only {', '.join(GROUPS)} do")
    _try_out(place, _built(place, kind, {**params, "p": 1.0}), size)
    return _built(place, kind, params)


def _number(place: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ComponentError(f"{place}: {key} = {show(value)}; {BOTH}")
    return value


def _inner(place: str, name: str, steps: Any, size: tuple[int, int]) -> list[Any]:
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        example = "[[augmentation.steps.transforms]]"
        raise ComponentError(f"{place}: {name} needs transforms, a list of steps such as {example}")
    return [_step(f"{place}.transforms[{index}]", inner, size) for index, inner in enumerate(steps)]


def _built(place: str, kind: type[Any], params: dict[str, Any]) -> Any:
    """The transform; whatever the library refuses or only warns about is an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return kind(**{key: _value(value) for key, value in params.items()})
    except Exception as error:  # each transform raises what it happens to meet
        cause = "; ".join(line.strip() for line in str(error).splitlines() if "errors.pydantic" not in line)
        raise ComponentError(f"{place}: {kind.__name__} is refused by albumentations: {cause}") from error


def _value(value: Any) -> Any:
    """A recipe's value as the library wants it: lists as tuples, ``cv2.BORDER_REFLECT`` as the number it stands for."""
    if isinstance(value, str) and value.startswith("cv2.") and hasattr(cv2, value[4:]):
        return getattr(cv2, value[4:])
    return tuple(map(_value, value)) if isinstance(value, list) else value


def _try_out(place: str, step: Any, size: tuple[int, int]) -> None:
    """Apply a step to a grey and to a colored sample: one of them must work and keep its size."""
    failures = []
    for channels in (1, 3):
        image = np.random.default_rng(0).random((*size, channels), dtype=np.float32)
        mask = np.zeros((*size, 2), np.uint8)
        mask[size[0] // 4 : size[0] // 2, : size[1] // 2] = 1
        policy = AlbumentationsPolicy(lambda: [step])
        try:
            _, new_mask = policy(image, mask, np.random.default_rng(0))
        except ComponentError as error:
            failures.append(str(error))
            continue
        if set(np.unique(new_mask)) <= {0, 1, IGNORE}:
            return
        failures.append(f"it puts other values than 0, 1 and {IGNORE} into the mask; fill_mask is one of these")
    raise ComponentError(f"{place}: {type(step).__name__} cannot be used here: {failures[-1]}")
