"""What the verbs share: the session of a command, and a recipe's data and network made ready on the device."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

from gisegkit.build.dataset import stack_warnings
from gisegkit.build.parts import (
    Data,
    Rows,
    build_data,
    build_metrics,
    build_model,
    build_postprocess,
    prepare_data,
    uses_softmax,
)
from gisegkit.build.preflight import refuse_overlaps
from gisegkit.components.models.weights import continue_from
from gisegkit.data.store.store import Prepared, Store
from gisegkit.engine.device import Device, pick_device
from gisegkit.engine.monitor import direction_of_monitor
from gisegkit.engine.predict import Decision, Scan, predict_scans
from gisegkit.engine.scoring import Scoreboard, score_scans
from gisegkit.errors import GisegError, RunError
from gisegkit.plugins import Plugins
from gisegkit.recipe.sections import Recipe
from gisegkit.runs.folder import RunDir
from gisegkit.types import Dataset, Metric, Progress, silent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Session:
    """What every verb needs besides the recipe.

    Attributes:
        device: ``auto`` or a device's name.
        progress: shows long work; say: prints one line.
        said: the notes that were printed.
    """

    plugins: Plugins
    device: str = "auto"
    progress: Progress = silent
    say: Callable[[str], None] = lambda line: None
    said: set[str] = field(default_factory=set, repr=False, compare=False)

    def note(self, line: str) -> None:
        """Print a note, once in a session however many of its steps come upon it."""
        if line not in self.said:
            self.said.add(line)
            self.say(f"note: {line}")


@dataclass
class Ready:
    """Data, network and decision of a run, on the device."""

    recipe: Recipe
    data: Data
    model: nn.Module
    device: Device
    decide: Decision
    metrics: dict[str, Metric]
    at_once: int = 0
    """The most slices on the device while it also trains: what was planned for a step; 0 where nothing was."""

    def scans(self, rows: Rows, *, label: str, progress: Progress) -> Iterator[Scan]:
        """Predict the rows scan by scan."""
        return predict_scans(
            self.model,
            self.data.source,
            rows,
            decide=self.decide,
            device=self.device,
            batch_size=min(self.recipe.evaluate.batch_size, self.at_once or self.recipe.evaluate.batch_size),
            workers=self.device.workers(self.recipe.train.workers),
            channels_last=self.recipe.train.channels_last,
            progress=progress,
            label=label,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint must say so that its network can be built again without the data."""
        return {"classes": list(self.data.dataset.classes), "channels": self.data.channels}


def get_ready(
    recipe: Recipe,
    session: Session,
    *,
    training: bool,
    weights: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    split: pd.DataFrame | None = None,
    prepare: bool = False,
    dataset: Dataset | None = None,
) -> Ready:
    """Build data and network of a recipe and bring the network to the device.

    What may fail at once comes before slices are prepared, which may take an hour: what the recipe monitors, and
    weights that cannot be had.

    Args:
        training: whether the data must have slices to train on.
        weights: a run's ``best.pt``; without it the network starts as the recipe says, and that is printed.
        facts: what the checkpoint that a run goes on from says of its data; its weights follow, so that none need be
            fetched.
        split: which slice is in which part, of a run that goes on; None draws folds as the recipe says.
        prepare: whether the slices that train or validate are decoded and kept, where they are not yet.
        dataset: the recipe's, if it is built already.

    Raises:
        RunError: if the data have other classes or channels than the weights were trained on, or other slices than
            ``split``, or the weights do not fit the network or are not finite.
        RecipeError: if the recipe monitors a score that there will not be.
    """
    registries = session.plugins.registries
    device = pick_device(session.device, recipe.train.precision)
    data = build_data(recipe, registries, training=training, look=not prepare, split=split, dataset=dataset)
    for line in getattr(data.dataset, "notes", ()):
        session.note(line)
    metrics = build_metrics(recipe, registries)
    if training:
        direction_of_monitor(recipe, metrics, data.dataset.classes)
        refuse_overlaps(recipe, registries, data.dataset)
        for line in stack_warnings(recipe, data.dataset):
            session.note(line)
    if weights is not None:
        facts = weights["facts"]
    if facts is not None:
        _compatible(data, facts)
    classes = len(data.dataset.classes)
    others = recipe.train.init_from
    settled = facts is not None
    model = build_model(recipe, registries, channels=data.channels, classes=classes, trained=settled or bool(others))
    if weights is not None:
        load_best(model, weights)
    elif not settled:
        if others:
            session.say(start_from(model, recipe, session, data))
        elif report := getattr(model, "loading_report", ""):
            session.say(report)
    if prepare:
        data = prepare_data(data, session.progress)
        if data.prepared.made:
            session.say(prepared_line(data.source.reader.store, data.prepared))
    model = model.to(device.device)
    if recipe.train.channels_last:
        model = model.to(memory_format=torch.channels_last)
    steps = tuple(build_postprocess(recipe, registries))
    decide = Decision(recipe.evaluate.threshold, steps, exclusive=uses_softmax(recipe, registries))
    return Ready(recipe, data, model, device, decide, metrics)


def prepared_line(store: Store | None, prepared: Prepared) -> str:
    """What the store holds, in words."""
    if store is None:
        return "nothing is prepared: the recipe or the dataset does without"
    return f"prepared: {prepared} in {store.folder}"


def _compatible(data: Data, facts: Mapping[str, Any]) -> None:
    have = {"classes": list(data.dataset.classes), "channels": data.channels}
    for key, value in have.items():
        if value != facts[key]:
            raise RunError(f"the run was trained with {key} = {facts[key]}, these data have {value}")


def load_best(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Take over a run's ``best.pt``.

    Raises:
        RunError: if it is not of this network, or a weight is not finite.
    """
    try:
        model.load_state_dict(weights["model"])
    except Exception as error:  # torch's, or that of a plugin's network
        lines = " ".join(line.strip() for line in str(error).splitlines()[:2])[:200]
        raise RunError(
            f"best.pt is not of the network in the run's recipe.toml ({lines}); one of the two files was changed: "
            "restore it from a copy of the run"
        ) from error
    refuse_not_finite(model, "best.pt")


def refuse_not_finite(model: nn.Module, source: str) -> None:
    """Check that a network's weights are numbers; a buffer may hold infinities (masks do), but running statistics not.

    Raises:
        RunError: if one is not; it would predict nothing at all.
    """
    named: list[tuple[str, torch.Tensor, bool]] = [(name, weight, True) for name, weight in model.named_parameters()]
    named += [(name, buffer, ".running_" in f".{name}") for name, buffer in model.named_buffers()]
    for name, tensor, finite in named:
        if not (tensor.isfinite() if finite else ~tensor.isnan()).all():
            raise RunError(f"{source}: the weights {name} are not finite, so nothing can be predicted with them")


def start_from(model: nn.Module, recipe: Recipe, session: Session, data: Data) -> str:
    """Take over what fits of the best weights of the run ``train.init_from``; returns what fitted, in words.

    Raises:
        RunError: if there is no such run, or its weights are damaged or not finite.
        ComponentError: if nothing fits.
    """
    place = recipe.train.init_from
    found = RunDir.open(Path(place)).weights()
    classes, theirs = tuple(data.dataset.classes), tuple(found["facts"]["classes"])
    heads = set() if classes == theirs else class_tensors(model, recipe, session, data, theirs)
    report = continue_from(
        model, found["model"], f"of the run {place}", data.channels, classes=classes, theirs=theirs, heads=heads
    )
    refuse_not_finite(model, f"train.init_from = {place}")
    return report


def class_tensors(model: nn.Module, recipe: Recipe, session: Session, data: Data, theirs: Sequence[str]) -> set[str]:
    """Names of a network's tensors that depend on the classes: those with another shape where there is one more.

    Raises:
        RunError: if the network cannot be built with one class more.
    """
    classes, registries = data.dataset.classes, session.plugins.registries
    try:
        wider = build_model(recipe, registries, channels=data.channels, classes=len(classes) + 1, trained=True)
    except GisegError as error:
        raise RunError(
            f"train.init_from: the classes here are {', '.join(classes)}, those of the run {', '.join(theirs)}, and "
            f"which weights belong to a class cannot be told: with one class more, {error}"
        ) from error
    shapes = {name: value.shape for name, value in wider.state_dict().items() if isinstance(value, torch.Tensor)}
    return {
        name
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor) and shapes.get(name) != value.shape
    }


P = ParamSpec("P")
R = TypeVar("R")


def in_run_folder(
    verb: Callable[Concatenate[RunDir, Recipe, Session, P], R],
) -> Callable[Concatenate[RunDir, Recipe, Session, P], R]:
    """A verb that writes into a run folder has it to itself; one that writes elsewhere (``out``) needs no lock."""

    @functools.wraps(verb)
    def alone(run: RunDir, recipe: Recipe, session: Session, /, *args: P.args, **keywords: P.kwargs) -> R:
        out = keywords.get("out")
        if isinstance(out, Path) and run.path.resolve() not in out.resolve().parents:
            return verb(run, recipe, session, *args, **keywords)
        with run.locked(session.say):
            return verb(run, recipe, session, *args, **keywords)

    return alone


def score_all(ready: Ready, rows: Rows, progress: Progress) -> Scoreboard:
    """The scores of whole scans at native size."""
    board = Scoreboard(ready.metrics, ready.data.dataset.classes)
    scans = ready.scans(rows, label="validate", progress=progress)
    deque(score_scans(scans, board, ready.data.dataset, threads=ready.device.threads), maxlen=0)  # holds none of them
    return board
