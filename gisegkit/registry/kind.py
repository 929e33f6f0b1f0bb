"""What is said of a kind of component: Kind, one row of the table KINDS, and Key, a key of all its components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gisegkit.registry.annotations import ValueType, parse_annotation


@dataclass(frozen=True)
class Key:
    """A key that a recipe may give every component of a kind, whichever it is.

    Attributes:
        annotation: what is valid, as a signature would say it.
        default: None is not written into the filled recipe.
        help: what it does.
        outlives: whether it stays where an override names another component.
    """

    annotation: str
    default: Any
    help: str
    outlives: bool = True

    @property
    def type(self) -> ValueType:
        """The annotation as a check."""
        return parse_annotation(self.annotation)


@dataclass(frozen=True)
class Kind:
    """A kind of component: one row of KINDS, from which everything else follows.

    Attributes:
        name: ``loss``; also the recipe's table.
        many: True if a recipe may hold several (``[[loss]]``).
        several: True if a recipe mostly holds one (``[dataset]``), and may hold several (``[[dataset]]``).
        given: parameters that gisegkit hands in, and what settles them; a recipe that sets them is refused.
        summary: what its factory returns.
        check: the contract check, as an import path; see ``gisegkit.testing.check_component``.
        tried: whether components of plugins are checked before training; False if that is done elsewhere, or if
            trying one could do something outside the run.
        native: whether it works on slices at native size; the check is else tried at the size of ``[input]``.
        needed: whether a recipe must name one.
        default: the components that a recipe has that names none.
        keys: what a recipe may say of every component of the kind.
        home: what names it: a recipe, or a plan file, which holds many runs.
    """

    name: str
    many: bool
    given: Mapping[str, str]
    summary: str
    check: str = ""
    tried: bool = True
    native: bool = False
    needed: bool = False
    several: bool = False
    default: tuple[str, ...] = ()
    keys: Mapping[str, Key] = field(default_factory=dict)
    home: Literal["recipe", "plan"] = "recipe"

    @property
    def table(self) -> str:
        """How a recipe opens it: ``[model]`` or ``[[loss]]``."""
        return f"[[{self.name}]]" if self.many else f"[{self.name}]"
