"""The network of a recipe: built from the seed, with the weights that the recipe starts from, or those of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gisegkit.components.models.any_size import AnySize
from gisegkit.components.models.weights import continue_from
from gisegkit.data.inputs import Input
from gisegkit.data.intensities import Normalization
from gisegkit.data.preprocess import CropPreprocess, Preprocess
from gisegkit.data.randomness import INITIAL, seeded
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.store import Store
from gisegkit.engine.device import Device
from gisegkit.errors import GisegError, RunError
from gisegkit.recipe.sections import Recipe
from gisegkit.runs.folder import RunDir
from gisegkit.types import Dataset

if TYPE_CHECKING:
    from gisegkit.build.experiment import Experiment


def make_preprocess(recipe: Recipe, normalization: Normalization) -> Preprocess:
    """What the recipe's ``[input]`` and ``[normalization]`` do to slices."""
    inputs = recipe.input
    if inputs.mode == "slice":
        return Preprocess(normalization, inputs.size, inputs.resize, inputs.interpolation)
    return CropPreprocess(
        normalization,
        inputs.size,
        interpolation=inputs.interpolation,
        scale_by=inputs.scale,
        around=inputs.around_class,
    )


def make_source(recipe: Recipe, dataset: Dataset, store: Store | None, preprocess: Preprocess) -> Input:
    """The slices of a dataset as the network gets them."""
    inputs = recipe.input
    return Input(
        SliceReader(
            dataset,
            slices=inputs.slices,
            stride=inputs.stride,
            edge=inputs.edge,
            preprocess=preprocess,
            store=store,
        )
    )


def build_network(
    experiment: Experiment, *, channels: int, classes: int, trained: bool = False, seed: int | None = None
) -> nn.Module:
    """The network on the CPU; its random initial weights derive from the seed.

    Args:
        channels, classes: C and K.
        trained: True if the weights of a checkpoint follow, so that pretrained ones need not be downloaded.
        seed: default the recipe's.
    """
    recipe, spec = experiment.recipe, experiment.recipe.model
    pretrained = spec.params.get("weights", "none") != "none" or bool(recipe.train.init_from)
    if trained and "weights" in spec.params:
        spec = replace(spec, params={**spec.params, "weights": "none"})
    with seeded(recipe.seed if seed is None else seed, INITIAL):
        model: nn.Module = experiment.build(spec, in_channels=channels, classes=classes)
    if trained and pretrained and isinstance(model, AnySize) and "batchnorm_momentum" not in spec.params:
        model.count_as_pretrained()
    return model


def started_network(experiment: Experiment, *, settled: bool) -> nn.Module:
    """The network on the CPU with the weights that the recipe starts from, which are said.

    Args:
        settled: whether weights of a checkpoint follow, so that none are loaded here.
    """
    others = bool(experiment.recipe.train.init_from)
    channels, classes = experiment.channels, len(experiment.classes)
    model = build_network(experiment, channels=channels, classes=classes, trained=settled or others)
    if not settled:
        if others:
            experiment.console.say(start_from(model, experiment))
        elif report := getattr(model, "loading_report", ""):
            experiment.console.say(report)
    return model


def to_device(model: nn.Module, recipe: Recipe, device: Device) -> nn.Module:
    """The network on the device, in the memory format that the recipe asks for."""
    model = model.to(device.device)
    return model.to(memory_format=torch.channels_last) if recipe.train.channels_last else model


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
    check_weights_finite(model, "best.pt")


def check_weights_finite(model: nn.Module, source: str) -> None:
    """Check that a network's weights are numbers; a buffer may hold infinities (masks do), but running statistics not.

    Raises:
        RunError: if one is not; it would predict nothing at all.
    """
    named: list[tuple[str, torch.Tensor, bool]] = [(name, weight, True) for name, weight in model.named_parameters()]
    named += [(name, buffer, ".running_" in f".{name}") for name, buffer in model.named_buffers()]
    for name, tensor, finite in named:
        if not (tensor.isfinite() if finite else ~tensor.isnan()).all():
            raise RunError(f"{source}: the weights {name} are not finite, so nothing can be predicted with them")


def start_from(model: nn.Module, experiment: Experiment) -> str:
    """Take over what fits of the best weights of the run ``train.init_from``; returns what fitted, in words.

    Raises:
        RunError: if there is no such run, or its weights are damaged or not finite.
        ComponentError: if nothing fits.
    """
    place = experiment.recipe.train.init_from
    found = RunDir.open(Path(place)).weights()
    classes, theirs = experiment.classes, tuple(found["facts"]["classes"])
    heads = set() if classes == theirs else class_tensors(model, experiment, theirs)
    report = continue_from(
        model, found["model"], f"of the run {place}", experiment.channels, classes=classes, theirs=theirs, heads=heads
    )
    check_weights_finite(model, f"train.init_from = {place}")
    return report


def class_tensors(model: nn.Module, experiment: Experiment, theirs: Sequence[str]) -> set[str]:
    """Names of a network's tensors that depend on the classes: their shape differs if there is one class more.

    Raises:
        RunError: if the network cannot be built with one class more.
    """
    classes = experiment.classes
    try:
        wider = build_network(experiment, channels=experiment.channels, classes=len(classes) + 1, trained=True)
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
