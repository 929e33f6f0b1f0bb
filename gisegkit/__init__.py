"""gisegkit: segment slices of medical scans from short recipes and pip-installable plugins.

Importing it does not import torch; the functions for recipes and runs are loaded when they are first asked for. The
public names are those of ``__all__``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gisegkit.errors import GisegError
from gisegkit.registry.hookspecs import hookimpl
from gisegkit.types import IGNORE, Above, AtLeast, Batch, Between

if TYPE_CHECKING:
    from gisegkit.workflows.api import epochs, evaluate, load_recipe, load_run, predict, train

__version__ = "0.1.0"

__all__ = [
    "IGNORE",
    "Above",
    "AtLeast",
    "Batch",
    "Between",
    "GisegError",
    "__version__",
    "epochs",
    "evaluate",
    "hookimpl",
    "load_recipe",
    "load_run",
    "predict",
    "train",
]

_LAZY = {"epochs", "evaluate", "load_recipe", "load_run", "predict", "train"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("gisegkit.workflows.api"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
