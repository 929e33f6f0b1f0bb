"""A recipe's components from plugins are checked before anything is trained, with the facts of its own data.

The checks are those of gisegkit.testing, so that a plugin's author, its tests and a training see the same. All problems
are told together. Which check a kind has, and whether it is made here, is in its row of KINDS.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from gisegkit import testing
from gisegkit.build.network import build_network
from gisegkit.components.normalizations import Unchanged
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.data.spacing import spacing_at
from gisegkit.errors import ComponentError, GisegError, in_short
from gisegkit.recipe.sections import ComponentSpec, Recipe
from gisegkit.registry.kinds import KINDS
from gisegkit.types import SPACING, Dataset

if TYPE_CHECKING:
    from gisegkit.build.experiment import Experiment

BRIEF = {"model": [(64, 96)], "augmentation": []}
"""H and W that a kind is tried with first, to be quick and not square; an augmentation knows one size."""

BRIEF_INPUT, BRIEF_NATIVE = [(16, 20), (64, 72)], [(20, 24)]
"""The same for other kinds, by whether they work at native size."""

Check = Callable[[tuple[int, int]], None]
"""A contract check as a function of the size that it is made with."""


@dataclass(frozen=True)
class Facts:
    """What the data and the recipe settle for the checks.

    Attributes:
        channels: C of the network's input; classes: K.
        size: H and W of the network's input.
        exclusive: whether a pixel has one class at most.
        native: H and W of the first slice.
        spacing: mm from slice to slice, row to row and column to column.
        steps: about as many optimizer steps as the run has.
    """

    channels: int
    classes: int
    exclusive: bool
    size: tuple[int, int]
    native: tuple[int, int]
    spacing: tuple[float, ...]
    steps: int


@dataclass(frozen=True)
class Finding:
    """What a check says of a component; the cause where its own code raised."""

    text: str
    refused: bool
    cause: BaseException | None = None
    kind: str = "dataset"


def check_contracts(experiment: Experiment) -> None:
    """Check that a recipe's components from plugins keep their contracts, and that its dataset does.

    Each doubt is said in a line: what is most often a mistake, and may be meant so. The checks try copies of their own.

    Raises:
        ComponentError: if a component breaks the contract of its kind; names place, owner and reason of all of them.
        DataError: if the data cannot be read.
    """
    findings: list[Finding] = []
    dataset: Dataset | None = None
    try:
        dataset = experiment.dataset
    except ComponentError as error:
        findings.append(Finding(str(error), True, error.__cause__))
    wanted = [spec for spec in experiment.recipe.components() if _is_checked(experiment, spec)]
    facts = _facts(experiment, dataset) if wanted else None
    if facts is not None:
        for spec in wanted:
            broken = [finding for finding in findings if finding.refused and finding.kind == "optimizer"]
            if not (spec.kind == "schedule" and broken):  # which is checked with the optimizer
                findings += _findings(experiment, spec, facts)
    for finding in findings:
        if not finding.refused:
            experiment.console.say(f"warning: {finding.text}")
    refused = [finding for finding in findings if finding.refused]
    if refused:
        head = f"{len(refused)} components break their contracts:\n  " if len(refused) > 1 else ""
        raise ComponentError(head + "\n  ".join(finding.text for finding in refused)) from next(
            (finding.cause for finding in refused if finding.cause is not None), None
        )


def _is_checked(experiment: Experiment, spec: ComponentSpec) -> bool:
    """Those of plugins are; gisegkit's own are checked by its tests."""
    return KINDS[spec.kind].tried and experiment.owner(spec).distribution != "gisegkit"


def _facts(experiment: Experiment, dataset: Dataset | None) -> Facts | None:
    """What the data settle; None if they cannot tell, because the dataset is refused anyway."""
    recipe = experiment.recipe
    try:
        return _facts_of(recipe, experiment.build(recipe.dataset) if dataset is None else dataset)
    except Exception as error:
        if dataset is None:
            return None
        if isinstance(error, GisegError):
            raise
        place, name = recipe.dataset.place, recipe.dataset.name
        first = dataset.table["id"].iat[0]
        raise ComponentError(f"{place}: dataset {name!r}: slice {first} cannot be read: {in_short(error)}") from error


def _facts_of(recipe: Recipe, dataset: Dataset) -> Facts:
    inputs, table = recipe.input, dataset.table
    preprocess = Preprocess(Unchanged())
    reader = SliceReader(dataset, slices=inputs.slices, stride=inputs.stride, edge=inputs.edge, preprocess=preprocess)
    mm = spacing_at(table, 0)
    return Facts(
        channels=reader.channels,
        classes=len(dataset.classes),
        exclusive=bool(dataset.exclusive),
        size=inputs.size,
        native=(int(table["height"].to_numpy()[0]), int(table["width"].to_numpy()[0])),
        spacing=tuple(mm[column] if 0 < mm.get(column, 0) < math.inf else 1.0 for column in SPACING),
        steps=max(1, recipe.train.epochs * -(-int(table["labelled"].sum()) // recipe.train.batch_size)),
    )


# --- one component --------------------------------------------------------------------------------------------------


def _findings(experiment: Experiment, spec: ComponentSpec, facts: Facts) -> Iterator[Finding]:
    """What the checks of its kind say of one component."""
    recipe = experiment.recipe
    what = f"{spec.place}: {spec.kind} {spec.name!r} of {experiment.owner(spec)}"
    build = partial(experiment.build, spec)
    kind = KINDS[spec.kind]
    large = facts.native if kind.native else facts.size
    brief = BRIEF.get(kind.name, BRIEF_NATIVE if kind.native else BRIEF_INPUT)
    sizes = [size for size in brief if size[0] <= large[0] and size[1] <= large[1]] + [large]
    doubts, refusal = _made(_check_of(experiment, spec, build, facts), sizes, all_sizes=spec.kind == "model")
    for text in doubts:
        yield Finding(f"{what}: {text}", False, kind=spec.kind)
    if refusal is not None:
        remedy = f"{kind.check.replace(':', '.')} makes this check in the plugin's own tests"
        built = not isinstance(refusal.__cause__, ComponentError)  # else the text says all of this itself
        text = f"{what}: {refusal} ({remedy})" if built else str(refusal.__cause__)
        yield Finding(text, True, refusal.__cause__, spec.kind)
    elif spec.kind == "loss" and recipe.train.check_gradients:
        known = {
            key: value for key, value in _known(experiment, facts).items() if key in ("classes", "exclusive", "soft")
        }
        _, different = _made(lambda size: testing.check_gradient(build(), **known, size=size), sizes)
        if different is not None:
            remedy = (
                "as with a detached factor or the hardest pixels alone, train.check_gradients = false leaves this out"
            )
            yield Finding(f"{what}: {different}. If that is meant so, {remedy}", False, kind=spec.kind)


def _made(check: Check, sizes: list[tuple[int, int]], *, all_sizes: bool = False) -> tuple[list[str], Exception | None]:
    """Make a check with the first size that a component passes with: what is doubtful, and why it fails with the last.

    A network may want multiples of 32, a loss more rows than its window has: only the recipe's own size decides. With
    all_sizes, what is wrong with an earlier one is a doubt, unless the component raised there.
    """
    refusal: Exception | None = None
    smaller: list[str] = []
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(record=True) as caught:
        for size in sizes:
            caught.clear()
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", testing.ContractWarning)
            torch.manual_seed(0)
            try:
                check(size)
                refusal = None
                break
            except Exception as error:  # of checks too: what a component hands out may break them anywhere
                refusal = error if isinstance(error, testing.ContractError) else _unforeseen(error)
                if refusal.__cause__ is None:
                    smaller.append(f"{refusal} (tried with {size[0]} x {size[1]} pixels; the recipe's size is fine)")
        doubts = [str(item.message) for item in caught if issubclass(item.category, testing.ContractWarning)]
    return list(dict.fromkeys(doubts + (smaller if all_sizes and refusal is None else []))), refusal


def _unforeseen(error: Exception) -> Exception:
    """An error out of a component's code, as the checks would have put it."""
    text = str(error) if isinstance(error, GisegError) else f"it raises {in_short(error)}"
    refusal = testing.ContractError(text)
    refusal.__cause__ = error
    return refusal


def _check_of(experiment: Experiment, spec: ComponentSpec, build: Callable[..., Any], facts: Facts) -> Check:
    """The contract check of a component's kind, as a function of the size, with the data's own facts."""
    seeds = itertools.count(experiment.recipe.seed)

    def network(*, in_channels: int, classes: int) -> torch.nn.Module:
        # Each with another seed: what the state dict does not hold would else be the same by chance.
        return build_network(experiment, channels=in_channels, classes=classes, trained=True, seed=next(seeds))

    if spec.kind == "postprocess":  # which may have a number for each class
        build = partial(build, classes=experiment.classes)
    factory = network if spec.kind == "model" else build
    known = _known(experiment, facts)
    return lambda size: testing.check_component(spec.kind, factory, **known, size=size)


def _known(experiment: Experiment, facts: Facts) -> dict[str, Any]:
    """What the checks are told, by the names of their parameters."""
    recipe = experiment.recipe
    return {
        "channels": facts.channels,
        "classes": facts.classes,
        "numbers": [(facts.channels, facts.classes)],
        "in_use": facts.size,
        "exclusive": facts.exclusive,
        "spacing": facts.spacing,
        "soft": bool(recipe.batch_transform),  # soft targets come from batch transforms alone
        "half": False,
        "gradients": False,  # a difference is a doubt, so that they are compared apart
        "counts": [min(4, recipe.train.batch_size)],
        "steps": [facts.steps],
        "optimizer": partial(experiment.build, recipe.optimizer),
    }
