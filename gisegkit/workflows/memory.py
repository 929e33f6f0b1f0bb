"""``giseg check --memory``: what a training step takes, by parts, the plan, and what would help."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gisegkit.build.experiment import Experiment
from gisegkit.build.memory_plan import cuts_by_memory, settled_size, simulate, unpredictable
from gisegkit.build.network import build_network
from gisegkit.engine.device import PRECISIONS, Device, parse_device, pick_device
from gisegkit.engine.memory import Simulation, SimulationError
from gisegkit.engine.plan import KEPT, Plan, choose, healthy, ways_out
from gisegkit.errors import DataError, TrainingError
from gisegkit.machine import parse_size, show_size
from gisegkit.recipe.sections import ComponentSpec, Recipe


@dataclass(frozen=True)
class DeviceSpec:
    """A device that need not be here.

    Attributes:
        budget: bytes; None for what the device that is here has free.
        device: its name, ``auto`` for a GPU where a budget is given.
    """

    budget: int | None
    device: str = "auto"


def memory_lines(experiment: Experiment, named: DeviceSpec) -> Iterator[str]:
    """What ``giseg check --memory`` prints: the prediction by parts, the plan, and what would help.

    Raises:
        TrainingError: if the device is not here and no budget is given.
        ComponentError: if the network cannot be built.
    """
    recipe = experiment.recipe
    device, budget = _device(recipe, named)
    channels, classes, resident, assumed = _facts(experiment)
    simulation = simulate(
        experiment,
        channels=channels,
        classes=classes,
        device=device,
        model=build_network(experiment, channels=channels, classes=classes, trained=True),
        resident=resident,
        include_context=named.budget is not None,
    )
    precision = next(name for name, dtype in PRECISIONS.items() if dtype is device.dtype)
    height, width = recipe.input.size
    yield (
        f"memory of a training step on {device.device.type} in {precision}, predicted without running it: "
        f"{channels} x {height} x {width} pixels, {classes} classes"
    )
    for line in (assumed, *simulation.notes):
        if line:
            yield f"  {line}"
    by_memory = cuts_by_memory(recipe.train, device)
    try:
        plan = _chosen(recipe, simulation, budget, planned=by_memory or named.budget is not None)
    except SimulationError as error:
        yield unpredictable(recipe.train, error)
        return
    for name, size in plan.estimate.parts.items():
        if size or name not in ("resident", "average"):
            yield f"  {name:<12} {show_size(size):>10}  {_what(name, recipe, plan, simulation)}".rstrip()
    yield f"  {'together':<12} {show_size(plan.estimate.total):>10}  of {show_size(budget)}"
    if plan.fits:
        yield f"plan: {plan.in_words(recipe.train.batch_size)}"
    else:
        yield f"no plan: {plan.in_words(recipe.train.batch_size)} does not fit"
    if recipe.train.micro_batch == "auto" and not by_memory:
        yield from _on_a_cpu(recipe, simulation, plan)
    if not healthy(plan, simulation):
        yield "what would help:"
        for line in ways_out(simulation, plan):
            yield f"  {line}"


def _chosen(recipe: Recipe, simulation: Simulation, budget: int, *, planned: bool) -> Plan:
    """The plan, or the micro-batch that is settled without one: by the recipe, or on a CPU."""
    train = recipe.train
    if train.micro_batch == "auto" and planned:
        return choose(simulation, budget, checkpointing=train.activation_checkpointing)
    size, recomputed = settled_size(train), train.activation_checkpointing == "on"
    return Plan(size, recomputed, 1, budget, simulation.estimate(size, checkpointing=recomputed))


def _on_a_cpu(recipe: Recipe, simulation: Simulation, plan: Plan) -> Iterator[str]:
    """What a CPU does without ``[train] memory``, where that differs from the plan or does not fit."""
    train = recipe.train
    if plan.micro_batch < train.batch_size or (plan.checkpointing and train.activation_checkpointing != "on"):
        yield "on a CPU training follows this plan only with --set train.memory=SIZE; without it, a step is not cut"
    elif not plan.fits:
        with contextlib.suppress(SimulationError, TrainingError):
            smaller = choose(simulation, plan.budget, checkpointing=train.activation_checkpointing)
            fit = smaller.in_words(train.batch_size) if smaller.fits else "nothing fits"
            yield f"on a CPU the batch is cut only with --set train.memory=SIZE; in {show_size(plan.budget)}: {fit}"


def _device(recipe: Recipe, named: DeviceSpec) -> tuple[Device, int]:
    if named.budget is None:
        here = pick_device(named.device, recipe.train.precision)
        size = here.available() if recipe.train.memory == "auto" else parse_size(recipe.train.memory)
        return here, size
    name = "cuda" if named.device == "auto" else named.device
    if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise TrainingError(f"--device {name}: memory is planned for cpu, cuda or mps")
    kind = parse_device(name)
    precision = recipe.train.precision
    if precision == "auto":
        precision = "bf16" if kind.type == "cuda" else "fp32"
    return Device(kind, PRECISIONS[precision]), named.budget


def _facts(experiment: Experiment) -> tuple[int, int, int, str]:
    """Channels and classes of the data, and the bytes that are kept on the device; else what the recipe says."""
    recipe = experiment.recipe
    try:
        kept = experiment.resident.size if experiment.resident else 0
        return experiment.channels, len(experiment.classes), kept, ""
    except DataError:
        classes = _named_classes(recipe.dataset)
        assumed = f"the data are not here: assuming grey slices and {classes} classes"
        also = f", and none of {KEPT}" if recipe.input.store == "device" else ""
        return recipe.input.slices, classes, 0, assumed + also


def _named_classes(dataset: ComponentSpec) -> int:
    params: Mapping[str, Any] = dataset.params
    return len(params.get("classes") or params.get("labels") or (1, 2, 3))


def _what(name: str, recipe: Recipe, plan: Plan, simulation: Simulation) -> str:
    targets = f"{simulation.targets} weighted target{'s' if simulation.targets > 1 else ''}"
    return {
        "optimizer": f"{recipe.optimizer.name}: {simulation.state_per_weight:g} numbers a weight",
        "average": f"{recipe.train.average}: a second copy of weights and running statistics",
        "batch": f"{recipe.train.batch_size} slices with {targets}",
        "activations": f"of {plan.micro_batch} slices{', recomputed' if plan.checkpointing else ''}",
        "workspace": "an allowance: the largest convolution, memory in pieces, the GPU's libraries",
        "context": "of a GPU process" if plan.estimate.context else "",
        "resident": KEPT,
    }.get(name, "")
