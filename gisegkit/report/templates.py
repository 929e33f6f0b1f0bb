"""The HTML templates of this folder, filled in: everything is escaped, and a value that is missing is an error."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

MISSING = "–"
"""What is shown in place of a value that is None or not finite."""


def render(template: str, /, **values: Any) -> str:
    """A template filled in with values.

    Args:
        template: the name of a file in this folder.
        values: what the template names; text from outside may hold any characters.

    Raises:
        jinja2.UndefinedError: if the template names a value that is not given.
    """
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters.update(number=number, text=text)
    return environment


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any) -> str:
    """A score with four decimals."""
    return f"{value:.4f}" if is_number(value) else MISSING


def text(value: Any) -> str:
    """Any value in words; the items of a list are separated by spaces."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value) or MISSING
    return str(value)
