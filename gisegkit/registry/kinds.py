"""Names and what they stand for: Component, Registry (one kind) and Registries (all kinds).

Registering stores an import path or an object; nothing is imported until a component is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gisegkit.errors import ComponentError, did_you_mean, in_a_sentence
from gisegkit.registry.signatures import Signature, load_path, read_object, read_path


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Attributes:
        name: ``loss``; also the recipe's table.
        many: True if a recipe may hold several (``[[loss]]``).
        given: parameters that gisegkit hands in, and what settles them; a recipe that sets them is refused.
        summary: what its factory returns.
    """

    name: str
    many: bool
    given: Mapping[str, str]
    summary: str

    @property
    def table(self) -> str:
        """How a recipe opens it: ``[model]`` or ``[[loss]]``."""
        return f"[[{self.name}]]" if self.many else f"[{self.name}]"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("dataset", False, {}, "a table of slices and readers for image and mask"),
        Kind(
            "model",
            False,
            {"in_channels": "the images and [input] slices", "classes": "the dataset"},
            "a module, [B, C, H, W] to logits [B, K, H, W]",
        ),
        Kind("loss", True, {}, "a module, (logits, target) [B, K, H, W] to a scalar"),
        Kind("augmentation", False, {"size": "[input] size"}, "(image, mask, rng) to the same pair, on the CPU"),
        Kind("batch_transform", True, {}, "(Batch, rng) to Batch, on the device, training only"),
        Kind("optimizer", False, {"params": "the model"}, "a torch optimizer"),
        Kind(
            "schedule",
            False,
            {"optimizer": "[optimizer]", "steps": "[train] epochs, [train] batch_size and the number of slices"},
            "a torch learning rate scheduler, stepped once an optimizer step",
        ),
        Kind("metric", True, {}, "scans [D, H, W, K] to values per slice or scan and class"),
        Kind("postprocess", True, {"classes": "the dataset"}, "probabilities or masks of a scan to the same"),
        Kind("tracker", True, {"folder": "the run folder"}, "receives each epoch's report and the final summary"),
    )
}


@dataclass(frozen=True)
class Owner:
    """The distribution that registered a component."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Component:
    """A name, what it stands for, and who brought it."""

    kind: str
    name: str
    target: Any
    owner: Owner

    def signature(self) -> Signature:
        """Parameters and docstring, read from the source; imports nothing.

        Raises:
            ComponentError: if the target is no factory or its source cannot be found; names the owner.
        """
        try:
            return read_path(self.target) if isinstance(self.target, str) else read_object(self.target)
        except (ComponentError, SyntaxError, ValueError, OSError) as error:
            raise ComponentError(f"{self.kind} {self.name!r} of {self.owner}: {error}") from error

    def load(self) -> Any:
        """The factory itself, imported now.

        Raises:
            ComponentError: if the import fails; names the owner and the cause.
        """
        if not isinstance(self.target, str):
            return self.target
        try:
            return load_path(self.target)
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            raise ComponentError(f"{self.kind} {self.name!r} of {self.owner} cannot be imported: {cause}") from error


class Registry:
    """The components of one kind, by name.

    Attributes:
        recall: what an unknown name is answered with besides the known ones: the plugins that did not load.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.recall = ""
        self._components: dict[str, Component] = {}

    def add(self, component: Component) -> None:
        """Register a component.

        Raises:
            ComponentError: if the name is taken; names both owners.
        """
        taken = self._components.get(component.name)
        if taken is not None:
            raise ComponentError(
                f"two components are called {self.kind.name} {component.name!r}: one of {taken.owner} and one of "
                f"{component.owner}. A name is a promise: uninstall one of them, or load only the others "
                "with the environment variable GISEG_PLUGINS."
            )
        self._components[component.name] = component

    def get(self, name: str) -> Component:
        """The component of that name.

        Raises:
            ComponentError: if there is none; says the nearest names and all that there are.
        """
        if name not in self._components:
            raise ComponentError(f"there is no {self.kind.name} {name!r}; {in_a_sentence(self.advice(name))}")
        return self._components[name]

    def advice(self, name: str) -> str:
        """What to write instead of an unknown name."""
        parts = [did_you_mean(name, self._components), f"There are: {', '.join(self) or 'none'}.", self.recall]
        return " ".join(filter(None, parts))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._components))

    def __contains__(self, name: str) -> bool:
        return name in self._components

    def __len__(self) -> int:
        return len(self._components)


@dataclass
class Registries:
    """One Registry a kind, in the order of the design's table."""

    by_kind: dict[str, Registry] = field(default_factory=lambda: {name: Registry(kind) for name, kind in KINDS.items()})

    def __getitem__(self, kind: str) -> Registry:
        """The registry of a kind.

        Raises:
            ComponentError: if there is no such kind.
        """
        if kind not in self.by_kind:
            nearest = did_you_mean(kind, self.by_kind)
            advice = " ".join(filter(None, [nearest, f"{'Kinds' if nearest else 'kinds'}: {', '.join(KINDS)}"]))
            raise ComponentError(f"there is no kind {kind!r}; {advice}")
        return self.by_kind[kind]

    def __iter__(self) -> Iterator[Component]:
        for registry in self.by_kind.values():
            for name in registry:
                yield registry.get(name)


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

    def dataset(self, name: str, target: Any) -> None:
        """Register a dataset."""
        self._add("dataset", name, target)

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

    def tracker(self, name: str, target: Any) -> None:
        """Register a tracker."""
        self._add("tracker", name, target)
