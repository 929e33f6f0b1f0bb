"""Adder: what a plugin registers its components with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from gisegkit.errors import ComponentError
from gisegkit.registry.kinds import KINDS, Component, Owner


class Register(Protocol):
    """Registers a component of a kind."""

    def __call__(self, name: str, target: Any) -> None: ...


class Adder:
    """What ``register_components(add)`` receives: one method a kind, ``add.loss(name, target)``.

    ``target`` is an import path ``"package.module:name"``, which costs nothing until a recipe uses it, or the
    function or class itself. What is added is kept back in ``components``, so that a hook that fails half-way
    registers nothing.
    """

    dataset: Register
    normalization: Register
    model: Register
    loss: Register
    augmentation: Register
    batch_transform: Register
    optimizer: Register
    schedule: Register
    metric: Register
    postprocess: Register
    writer: Register
    tracker: Register
    executor: Register
    search: Register

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.components: list[Component] = []

    def _add(self, kind: str, name: str, target: Any) -> None:
        if not name or not name.replace("-", "_").replace("/", "_").replace(".", "_").isidentifier():
            raise ComponentError(f"{name!r} is no name for a {kind}: use letters, digits and underscores")
        self.components.append(Component(kind, name, target, self.owner))

    if not TYPE_CHECKING:  # so that type checkers and editors know the kinds above, and no others

        def __getattr__(self, kind: str) -> Register:
            """What registers components of a kind, which has a row in KINDS."""
            if kind not in KINDS:
                raise AttributeError(f"there is no kind {kind!r}; kinds: {', '.join(KINDS)}", name=kind, obj=self)
            return partial(self._add, kind)
