"""Adder: what a plugin registers its components with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from gisegkit.errors import ComponentError
from gisegkit.registry.kinds import KINDS, Component, Owner


class Adder:
    """What ``register_components(add)`` receives: one method a kind, ``add.loss(name, target)``.

    ``target`` is an import path ``"package.module:name"``, which costs nothing until a recipe uses it, or the
    function or class itself. What is added is kept back in ``components``, so that a hook that fails half-way
    registers nothing.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.components: list[Component] = []

    def _add(self, kind: str, name: str, target: Any) -> None:
        if not name or not name.replace("-", "_").replace("/", "_").replace(".", "_").isidentifier():
            raise ComponentError(f"{name!r} is no name for a {kind}: use letters, digits and underscores")
        self.components.append(Component(kind, name, target, self.owner))

    if not TYPE_CHECKING:  # so that type checkers and editors know the methods that are written, and no others

        def __getattr__(self, kind: str) -> Callable[[str, Any], None]:
            """Register a component of a kind that has a row in KINDS and no method below."""
            if kind not in KINDS:
                raise AttributeError(f"there is no kind {kind!r}; kinds: {', '.join(KINDS)}", name=kind, obj=self)
            return partial(self._add, kind)

    def dataset(self, name: str, target: Any) -> None:
        """Register a dataset."""
        self._add("dataset", name, target)

    def normalization(self, name: str, target: Any) -> None:
        """Register a normalization."""
        self._add("normalization", name, target)

    def model(self, name: str, target: Any) -> None:
        """Register a model."""
        self._add("model", name, target)

    def loss(self, name: str, target: Any) -> None:
        """Register a loss."""
        self._add("loss", name, target)

    def augmentation(self, name: str, target: Any) -> None:
        """Register an augmentation policy."""
        self._add("augmentation", name, target)

    def batch_transform(self, name: str, target: Any) -> None:
        """Register a batch transform."""
        self._add("batch_transform", name, target)

    def optimizer(self, name: str, target: Any) -> None:
        """Register an optimizer."""
        self._add("optimizer", name, target)

    def schedule(self, name: str, target: Any) -> None:
        """Register a learning rate schedule."""
        self._add("schedule", name, target)

    def metric(self, name: str, target: Any) -> None:
        """Register a metric."""
        self._add("metric", name, target)

    def postprocess(self, name: str, target: Any) -> None:
        """Register a post-processing step."""
        self._add("postprocess", name, target)

    def writer(self, name: str, target: Any) -> None:
        """Register a writer of predictions."""
        self._add("writer", name, target)

    def tracker(self, name: str, target: Any) -> None:
        """Register a tracker."""
        self._add("tracker", name, target)

    def executor(self, name: str, target: Any) -> None:
        """Register an executor, which a plan file names."""
        self._add("executor", name, target)

    def search(self, name: str, target: Any) -> None:
        """Register a search, which a plan file names."""
        self._add("search", name, target)
