"""What the verbs share: the session of a command, and a recipe's data and network made ready on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gisegkit.build import (
    Data,
    Rows,
    build_data,
    build_metrics,
    build_model,
    build_postprocess,
    prepare_data,
    uses_softmax,
)
from gisegkit.components.weights import continue_from
from gisegkit.data.store import Prepared, Store
from gisegkit.dataset import stack_warnings
from gisegkit.engine.device import Device, pick_device
from gisegkit.engine.evaluate import score_scans
from gisegkit.engine.predict import Decision, Scan, predict_scans
from gisegkit.engine.scoring import Scoreboard
from gisegkit.errors import RunError
from gisegkit.monitor import direction_of_monitor
from gisegkit.plugins import Plugins
from gisegkit.preflight import refuse_overlaps
from gisegkit.recipe import Recipe
from gisegkit.rundir import RunDir
from gisegkit.types import Metric, Progress, silent


@dataclass(frozen=True)
class Session:
    """What every verb needs besides the recipe.

    Attributes:
        device: ``auto`` or a device's name.
        progress: shows long work; say: prints one line.
    """

    plugins: Plugins
    device: str = "auto"
    progress: Progress = silent
    say: Callable[[str], None] = lambda line: None


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
    resumed: bool = False,
    prepare: bool = False,
) -> Ready:
    """Build data and network of a recipe and bring the network to the device.

    What may fail at once comes before slices are prepared, which may take an hour: what the recipe monitors, and
    weights that cannot be had.

    Args:
        training: whether the data must have slices to train on.
        weights: a run's ``best.pt``; without it the network starts as the recipe says, and that is printed.
        resumed: whether a checkpoint's weights follow, so that none need be fetched.
        prepare: whether the slices that train or validate are decoded and kept, where they are not yet.

    Raises:
        RunError: if the data have other classes or channels than the weights were trained on.
        RecipeError: if the recipe monitors a score that there will not be.
    """
    registries = session.plugins.registries
    device = pick_device(session.device, recipe.train.precision)
    data = build_data(recipe, registries, training=training, look=not prepare)
    metrics = build_metrics(recipe, registries)
    if training:
        direction_of_monitor(recipe, metrics, data.dataset.classes)
        refuse_overlaps(recipe, registries, data.dataset)
        for line in stack_warnings(recipe, data.dataset):
            session.say(line)
    if weights is not None:
        _compatible(data, weights["facts"])
    classes = len(data.dataset.classes)
    others = recipe.train.init_from
    settled = weights is not None or resumed
    model = build_model(recipe, registries, channels=data.channels, classes=classes, trained=settled or bool(others))
    if weights is not None:
        model.load_state_dict(weights["model"])
    elif not settled:
        if others:
            found = RunDir.open(Path(others)).weights()["model"]
            session.say(continue_from(model, found, f"of the run {others}", data.channels))
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


def score_all(ready: Ready, rows: Rows, progress: Progress) -> Scoreboard:
    """The scores of whole scans at native size."""
    board = Scoreboard(ready.metrics, ready.data.dataset.classes)
    scans = ready.scans(rows, label="validate", progress=progress)
    deque(score_scans(scans, board, ready.data.dataset, threads=ready.device.threads), maxlen=0)  # holds none of them
    return board
