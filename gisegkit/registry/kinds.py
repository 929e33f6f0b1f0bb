"""The kinds of components, and the names of each: KINDS, Component, Registry (one kind), Registries (all kinds).

Registering stores an import path or an object; nothing is imported until a component is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gisegkit.errors import ComponentError, did_you_mean, in_a_sentence
from gisegkit.registry.kind import Key, Kind
from gisegkit.registry.signatures import Signature, load_path, read_object, read_path

ROLE = "train: split into folds; extra: all its labelled slices train; test: it is only scored, after training."
EXCLUSIONS = "a CSV file with a column id: slices to leave out, as giseg data --fix writes it."
ON_BAD = "slices with errors stop the command (stop, the default), or are left out and counted (skip)."
RATES = "learning rates of parts of the network, such as {encoder = 1e-4}; the others have lr."
SPACE = "keys of the recipe: {uniform = [a, b]}, {log_uniform = [a, b]}, {integer = [a, b]} or {choice = [...]}."
AS = "what its scores are called, if not by its name; needed if a recipe has a metric twice."

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "dataset",
            False,
            {},
            "a table of slices and readers for image and mask",
            check="gisegkit.testing:check_dataset",
            tried=False,  # every command that reads data verifies its dataset
            needed=True,
            several=True,
            keys={
                "role": Key('Literal["train", "extra", "test"]', "train", ROLE),
                "exclusions": Key("str", None, EXCLUSIONS),
                "on_bad": Key('Literal["stop", "skip"]', None, ON_BAD),
            },
        ),
        Kind(
            "normalization",
            False,
            {},
            "an object that maps the intensities of a slice, a stack or a scan",
            check="gisegkit.testing:check_normalization",
            native=True,
            default=("maximum",),
        ),
        Kind(
            "model",
            False,
            {"in_channels": "the images and [input] slices", "classes": "the dataset"},
            "a module, [B, C, H, W] to logits [B, K, H, W]",
            check="gisegkit.testing:check_model",
            needed=True,
        ),
        Kind(
            "loss",
            True,
            {},
            "a module, (logits, target) [B, K, H, W] to a scalar",
            check="gisegkit.testing:check_loss",
            needed=True,
            keys={
                "weight": Key("Annotated[float, AtLeast(0)]", 1.0, "its share in the sum of the losses."),
                "start_epoch": Key("Annotated[int, AtLeast(1)]", 1, "the first epoch that it counts in."),
                "end_epoch": Key("Annotated[int, AtLeast(0)]", 0, "the last epoch that it counts in; 0: of the run."),
            },
        ),
        Kind(
            "augmentation",
            False,
            {"size": "[input] size"},
            "(image, mask, rng) to the same pair, on the CPU",
            check="gisegkit.testing:check_augmentation",
            default=("none",),
        ),
        Kind(
            "batch_transform",
            True,
            {},
            "(Batch, rng) to Batch, on the device, training only",
            check="gisegkit.testing:check_batch_transform",
        ),
        Kind(
            "optimizer",
            False,
            {"params": "the model"},
            "a torch optimizer",
            check="gisegkit.testing:check_optimizer",
            needed=True,
            keys={"lr_by_part": Key("dict[str, Annotated[float, Above(0)]]", None, RATES)},
        ),
        Kind(
            "schedule",
            False,
            {"optimizer": "[optimizer]", "steps": "[train] epochs, [train] batch_size and the number of slices"},
            "a torch learning rate scheduler, stepped once an optimizer step",
            check="gisegkit.testing:check_schedule",
            default=("constant",),
        ),
        Kind(
            "metric",
            True,
            {},
            "scans [D, H, W, K] to values per slice or scan and class",
            check="gisegkit.testing:check_metric",
            native=True,
            default=("dice",),
            keys={"as": Key("str", None, AS, outlives=False)},
        ),
        Kind(
            "postprocess",
            True,
            {"classes": "the dataset"},
            "probabilities or masks of a scan to the same",
            check="gisegkit.testing:check_postprocess",
            native=True,
        ),
        Kind(
            "writer",
            True,
            {},
            "an object that receives predictions slice by slice and makes files of them",
            check="gisegkit.testing:check_writer",
            native=True,
            default=("submission",),
        ),
        Kind(
            "tracker",
            True,
            {"folder": "the run folder"},
            "an object that receives a run's start, each epoch's report, and its end",
            check="gisegkit.testing:check_tracker",
            tried=False,  # one may write to a server
        ),
        Kind(
            "executor",
            False,
            {"device": "--device of giseg plan", "folder": "the plan's folder"},
            "an object that runs the commands of a plan: submit, poll, cancel, close",
            check="gisegkit.testing:check_executor",
            tried=False,  # one may wait in the queue of a cluster
            default=("local",),
            home="plan",
        ),
        Kind(
            "search",
            False,
            {"hunt": "[search.space], metric and direction"},
            "an object that says what to try next: ask, tell, prune",
            check="gisegkit.testing:check_search",
            tried=False,  # one may keep files
            home="plan",
            keys={
                "run": Key("str", None, "the [[run]] whose settings are searched; needed if there are several."),
                "space": Key("dict", None, SPACE),
                "trials": Key("Annotated[int, AtLeast(1)]", None, "how many there are at most; grid has an end."),
                "metric": Key("str", None, "the score that is searched for; if not given, the one that is monitored."),
                "direction": Key('Literal["auto", "maximize", "minimize"]', "auto", "auto is what the metric says."),
            },
        ),
    )
}
"""The kinds: those of recipes in the order in which the filled recipe holds them, then those of plan files."""


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
