"""How a recipe's training step is made to fit the memory of a device, one that is here or one that is only named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gisegkit.build import build_criterion, build_data, build_model
from gisegkit.components.criterion import Criterion
from gisegkit.dataset import build_component
from gisegkit.engine.checkpointing import enable, find_blocks, is_enabled
from gisegkit.engine.device import PRECISIONS, Device, pick_device
from gisegkit.engine.memory import Simulation, SimulationError, state_per_weight
from gisegkit.engine.plan import Plan, choose, healthy, ways_out
from gisegkit.engine.resident import Resident
from gisegkit.engine.step import Cutting
from gisegkit.errors import DataError, Mistake, RecipeError, TrainingError
from gisegkit.recipe import ComponentSpec, Recipe
from gisegkit.registry import Registries
from gisegkit.sizes import parse_size, show_size
from gisegkit.types import Batch

KEPT = 'the slices that input.store = "device" keeps there'

DRAWS = 32
"""Batches of a batch transform that are looked at for the most weighted targets that it makes."""


def verify_store(recipe: Recipe, registries: Registries) -> None:
    """Check that no policy on the CPU is to change slices that are kept on the device.

    Raises:
        RecipeError: if one is.
    """
    if recipe.input.store != "device":
        return
    spec = recipe.augmentation
    policy = build_component(spec, registries, size=recipe.input.size)
    if not getattr(policy, "changes_nothing", False):
        found = f'augmentation.name = "{spec.name}" works on the CPU, and input.store = "device" has no slices there'
        remedy = (
            'use augmentation.name = "none" and a batch transform such as "final_device", as recipes/'
            'unet_effb1_device.toml does, or input.store = "size"'
        )
        raise RecipeError(recipe.source, [Mistake(spec.place, found, remedy)])


def simulate(
    recipe: Recipe,
    registries: Registries,
    *,
    model: nn.Module,
    criterion: Criterion,
    channels: int,
    classes: int,
    device: Device,
    whole_device: bool = False,
    resident: int = 0,
) -> Simulation:
    """The recipe's training step as one whose memory can be predicted; arguments as in Simulation."""

    def optimizer(**given: Any) -> torch.optim.Optimizer:
        built: torch.optim.Optimizer = build_component(recipe.optimizer, registries, **given)
        return built

    every = Criterion(list(zip(criterion.names, criterion.weights, criterion.losses, strict=True)))
    return Simulation(
        model=model,
        criterion=every,  # each loss counts: a schedule must not make a later epoch larger than the plan
        channels=channels,
        classes=classes,
        size=recipe.input.size,
        targets=_targets([build_component(spec, registries) for spec in recipe.batch_transform], channels, classes),
        batch_size=recipe.train.batch_size,
        device=device,
        state_per_weight=state_per_weight(optimizer),
        whole_device=whole_device,
        resident=resident,
    )


def _targets(transforms: list[Callable[[Batch, np.random.Generator], Batch]], channels: int, classes: int) -> int:
    """The most weighted targets that a batch has after the transforms."""
    most = 1
    for seed in range(DRAWS if transforms else 0):
        rng = np.random.default_rng(seed)
        target = torch.zeros(4, classes, 32, 32)
        batch = Batch(torch.zeros(4, channels, 32, 32), ((1.0, target),), torch.arange(4))
        for transform in transforms:
            batch = transform(batch, rng)
        most = max(most, len(batch.targets))
    return most


def cut(recipe: Recipe, simulation: Simulation, device: Device) -> tuple[Cutting, Plan | None, str]:
    """How training on a device that is here cuts its batches.

    Returns:
        The cutting, with recomputation switched on where the plan says so; the plan (None where the recipe settles the
        micro-batch itself); and a line about it.

    Raises:
        TrainingError: if not even the smallest micro-batch fits, or what is to be kept on the device does not fit
            beside the recipe's; says what would help.
    """
    train = recipe.train
    try:
        blocks = simulation.recomputable if train.activation_checkpointing != "off" else []
    except SimulationError:
        blocks = []
    if train.micro_batch != "auto":
        if train.activation_checkpointing == "on":
            enable(blocks)
        size = min(train.micro_batch or train.batch_size, train.batch_size)
        _check_room(simulation, size, device)
        return Cutting(size, getattr(simulation.model, "min_train_batch", 1), blocks), None, ""
    budget = device.available() if train.memory == "auto" else parse_size(train.memory)
    try:
        plan = choose(simulation, budget, checkpointing=train.activation_checkpointing)
    except SimulationError as error:
        line = f"memory cannot be predicted ({error}); starting with the whole batch, halved where memory runs out"
        if train.activation_checkpointing == "on":
            enable(blocks)
        _check_room(simulation, train.batch_size, device)
        return Cutting(train.batch_size, getattr(simulation.model, "min_train_batch", 1), blocks), None, line
    if not plan.fits:
        kept = f" ({show_size(simulation.resident)} of it for {KEPT})" if simulation.resident else ""
        raise TrainingError(
            f"a step of {plan.micro_batch} slices{', activations recomputed,' if plan.checkpointing else ''} is "
            f"predicted to take {show_size(plan.estimate.total)}{kept}, and there are {show_size(budget)} "
            f"({'free on ' + str(device) if train.memory == 'auto' else 'train.memory'}). What would help:\n  "
            + "\n  ".join(ways_out(simulation, plan))
            + f"\nTo try all the same: --set train.micro_batch={plan.micro_batch}"
        )
    if plan.checkpointing:
        enable(blocks)
    _check_room(simulation, plan.micro_batch, device)
    return Cutting(plan.micro_batch, plan.least, blocks), plan, f"memory: {plan.in_words(train.batch_size)}"


def _check_room(simulation: Simulation, micro_batch: int, device: Device) -> None:
    """Refuse to keep slices on the device where a step that was not planned would have no room beside them."""
    if not simulation.resident:
        return
    try:
        step = simulation.estimate(micro_batch, checkpointing=any(map(is_enabled, find_blocks(simulation.model))))
        needed, beside = step.total, f", and a step of {micro_batch} slices {show_size(step.total - step.resident)}"
    except SimulationError:
        needed, beside = simulation.resident, ""
    if needed > device.available():
        raise TrainingError(
            f"{KEPT} take {show_size(simulation.resident)}{beside}, and there are {show_size(device.available())} free "
            f"on {device}; --set input.store=size leaves them in files"
        )


# --- check --memory -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """A device that need not be here.

    Attributes:
        budget: bytes; None for what the device that is here has free.
        device: its name, ``auto`` for a GPU where a budget is given.
    """

    budget: int | None
    device: str = "auto"


def memory_lines(recipe: Recipe, registries: Registries, named: Named) -> Iterator[str]:
    """What ``giseg check --memory`` prints: the prediction by parts, the plan, and what would help.

    Raises:
        TrainingError: if the device is not here and no budget is given.
        ComponentError: if the network cannot be built.
    """
    device, budget = _device(recipe, named)
    channels, classes, resident, assumed = _facts(recipe, registries)
    model = build_model(recipe, registries, channels=channels, classes=classes, trained=True)
    simulation = simulate(
        recipe,
        registries,
        model=model,
        criterion=build_criterion(recipe, registries),
        channels=channels,
        classes=classes,
        device=device,
        whole_device=named.budget is not None,
        resident=resident,
    )
    precision = next(name for name, dtype in PRECISIONS.items() if dtype is device.dtype)
    height, width = recipe.input.size
    yield (
        f"memory of a training step on {device.device.type} in {precision}, predicted without running it: "
        f"{channels} x {height} x {width} pixels, {classes} classes"
    )
    if assumed:
        yield f"  {assumed}"
    try:
        plan = _chosen(recipe, simulation, budget)
    except SimulationError as error:
        yield f"  cannot be predicted: {error}"
        yield "  training starts with the whole batch, and halves it where memory runs out"
        return
    for name, size in plan.estimate.parts.items():
        if size or name != "resident":
            yield f"  {name:<12} {show_size(size):>10}  {_what(name, recipe, plan, simulation)}".rstrip()
    yield f"  {'together':<12} {show_size(plan.estimate.total):>10}  of {show_size(budget)}"
    if plan.fits:
        yield f"plan: {plan.in_words(recipe.train.batch_size)}"
    else:
        yield f"no plan: {plan.in_words(recipe.train.batch_size)} does not fit"
    if not healthy(plan, simulation):
        yield "what would help:"
        for line in ways_out(simulation, plan):
            yield f"  {line}"


def _chosen(recipe: Recipe, simulation: Simulation, budget: int) -> Plan:
    """The plan, or the micro-batch that the recipe settles itself."""
    train = recipe.train
    if train.micro_batch == "auto":
        return choose(simulation, budget, checkpointing=train.activation_checkpointing)
    size, recomputed = train.micro_batch or train.batch_size, train.activation_checkpointing == "on"
    return Plan(size, recomputed, 1, budget, simulation.estimate(size, checkpointing=recomputed))


def _device(recipe: Recipe, named: Named) -> tuple[Device, int]:
    if named.budget is None:
        here = pick_device(named.device, recipe.train.precision)
        size = here.available() if recipe.train.memory == "auto" else parse_size(recipe.train.memory)
        return here, size
    name = "cuda" if named.device == "auto" else named.device
    if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise TrainingError(f"--device {name}: memory is planned for cpu, cuda or mps")
    kind = torch.device(name)
    precision = recipe.train.precision
    if precision == "auto":
        precision = "bf16" if kind.type == "cuda" else "fp32"
    return Device(kind, PRECISIONS[precision]), named.budget


def _facts(recipe: Recipe, registries: Registries) -> tuple[int, int, int, str]:
    """Channels and classes of the data, and the bytes that are kept on the device; else what the recipe says."""
    resident = recipe.input.store == "device"
    try:
        data = build_data(recipe, registries, training=resident)
        kept = Resident(data.source, data.train).size if resident else 0
        return data.channels, len(data.dataset.classes), kept, ""
    except DataError:
        classes = _named_classes(recipe.dataset)
        assumed = f"the data are not here: assuming grey slices and {classes} classes"
        return recipe.input.slices, classes, 0, assumed + (f", and none of {KEPT}" if resident else "")


def _named_classes(dataset: ComponentSpec) -> int:
    params: Mapping[str, Any] = dataset.params
    return len(params.get("classes") or params.get("labels") or (1, 2, 3))


def _what(name: str, recipe: Recipe, plan: Plan, simulation: Simulation) -> str:
    targets = f"{simulation.targets} weighted target{'s' if simulation.targets > 1 else ''}"
    return {
        "optimizer": f"{recipe.optimizer.name}: {simulation.state_per_weight:g} numbers a weight",
        "batch": f"{recipe.train.batch_size} slices with {targets}",
        "activations": f"of {plan.micro_batch} slices{', recomputed' if plan.checkpointing else ''}",
        "workspace": "an allowance: the largest convolution, memory in pieces, the GPU's libraries",
        "context": "of a GPU process" if plan.estimate.context else "",
        "resident": KEPT,
    }.get(name, "")
