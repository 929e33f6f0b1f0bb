"""What the contract checks share: the error, the warning, calls of a component's code, and arrays in a few words."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch

from gisegkit.errors import in_short, listed

T = TypeVar("T")

SHOWN_VALUES = 5


class ContractError(AssertionError):
    """A component breaks the contract of its kind."""


class ContractWarning(UserWarning):
    """A component does what is most often a mistake, and may be meant so."""


def expect(condition: bool, message: str) -> None:
    """Raise ContractError with the message unless the condition holds."""
    if not condition:
        raise ContractError(message)


def doubt(condition: bool, message: str) -> None:
    """Warn with the message where the condition holds."""
    if condition:
        warnings.warn(message, ContractWarning, stacklevel=3)


def call(what: str, function: Any, *values: Any, **keywords: Any) -> Any:
    """What a component's function returns.

    Args:
        what: it was asked to do, for the message.

    Raises:
        ContractError: if it raises anything; says what, and chains the cause.
    """
    try:
        return function(*values, **keywords)
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(f"{what}: it raises {in_short(error)}") from error


def form(value: Any) -> str:
    """Shape and type of an array or tensor, the type of anything else."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


def few(values: Iterable[Any]) -> str:
    """The first values of a set in order, and how many more there are."""
    ordered = sorted(set(values))
    return listed((f"{value:g}" for value in ordered), shown=SHOWN_VALUES)
