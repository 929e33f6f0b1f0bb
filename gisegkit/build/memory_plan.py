"""How a recipe's training step is made to fit the memory of a device, one that is here or one that is only named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gisegkit.build.dataset import build_component
from gisegkit.build.parts import build_criterion, build_data, build_model
from gisegkit.engine.checkpointing import enable
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import PRECISIONS, Device, parse_device, pick_device
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.memory import Simulation, SimulationError
from gisegkit.engine.plan import KEPT, Plan, check_room, choose, doubts, healthy, misfit, ways_out
from gisegkit.engine.step import MicroBatching
from gisegkit.engine.trial import count_targets, optimizer_state
from gisegkit.errors import DataError, Mistake, RecipeError, TrainingError
from gisegkit.machine import parse_size, show_size
from gisegkit.recipe.sections import ComponentSpec, Recipe, Train
from gisegkit.registry.kinds import Registries

ADVICE = "docs/plugins.md, Memory, says what a network or loss must not do to be predicted"


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


def cuts_by_memory(train: Train, device: Device) -> bool:
    """Whether batches are cut by what is predicted to fit; on a CPU only where ``[train] memory`` is set.

    What is free there changes from minute to minute, and must not change a result.
    """
    return train.micro_batch == "auto" and (device.device.type != "cpu" or train.memory != "auto")


def needs_prediction(recipe: Recipe, device: Device) -> bool:
    """Whether training asks what its step will take: to cut its batches, or for slices that are kept beside it."""
    return cuts_by_memory(recipe.train, device) or recipe.input.store == "device"


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
    needed: bool = True,
) -> Simulation:
    """The recipe's training step as one whose memory can be predicted; arguments as in Simulation.

    Args:
        needed: whether it will be predicted; batch transforms and optimizer are not tried otherwise.
    """

    def owner(spec: ComponentSpec) -> str:
        return f"{spec.kind} {spec.name!r} of {registries[spec.kind].get(spec.name).owner}"

    def optimizer(**given: Any) -> torch.optim.Optimizer:
        built: torch.optim.Optimizer = build_component(recipe.optimizer, registries, **given)
        return built

    targets, state, notes = 1, 0.0, ("", "")
    if needed:
        transforms = [(owner(spec), build_component(spec, registries)) for spec in recipe.batch_transform]
        targets, first = count_targets(transforms, channels=channels, classes=classes, size=recipe.input.size)
        state, second = optimizer_state(owner(recipe.optimizer), optimizer)
        notes = (first, second)
    every = Criterion(list(zip(criterion.names, criterion.weights, criterion.losses, strict=True)))
    losses = zip(every.names, map(owner, recipe.loss), strict=False)
    return Simulation(
        model=model,
        criterion=every,  # each loss counts: a schedule must not make a later epoch larger than the plan
        channels=channels,
        classes=classes,
        size=recipe.input.size,
        targets=targets,
        batch_size=recipe.train.batch_size,
        device=device,
        state_per_weight=state,
        whole_device=whole_device,
        resident=resident,
        owners={"model": owner(recipe.model), **dict(losses)},
        notes=tuple(filter(None, notes)),
    )


def choose_micro_batches(
    recipe: Recipe, simulation: Simulation, device: Device
) -> tuple[MicroBatching, Plan | None, str]:
    """How training on a device that is here cuts its batches.

    Returns:
        The micro-batching, with recomputation switched on where recipe or plan say so; the plan (None where nothing is
        planned); and what is to be said about it, in lines.

    Raises:
        TrainingError: if not even the smallest micro-batch fits, or what is to be kept on the device does not fit
            beside the recipe's; says what would help.
    """
    train = recipe.train
    by_memory = cuts_by_memory(train, device)
    blocks, lines = _recomputable(train, simulation)
    plan = None
    if by_memory:
        try:
            plan = _plan(recipe, simulation, device)
            lines += [*simulation.notes, f"memory: {plan.in_words(train.batch_size)}"]
        except SimulationError as error:
            lines.append(unpredictable(train, error))
    elif simulation.resident:
        lines += simulation.notes
    size = plan.micro_batch if plan else settled_size(train)
    recompute = plan.checkpointing if plan else train.activation_checkpointing == "on"
    check_room(simulation, size, device, checkpointing=recompute and bool(blocks))
    if plan is None and not recompute and train.micro_batch == "auto":
        lines += doubts(simulation, size, device)
    if recompute:
        enable(blocks)
    least = plan.least if plan else getattr(simulation.model, "min_train_batch", 1)
    return MicroBatching(size, least, blocks), plan, "\n".join(lines)


def settled_size(train: Train) -> int:
    """The micro-batch where none is planned: the recipe's, or the whole batch."""
    return train.batch_size if train.micro_batch in ("auto", 0) else min(int(train.micro_batch), train.batch_size)


def unpredictable(train: Train, error: SimulationError) -> str:
    """What happens where the memory of a step cannot be predicted."""
    size = settled_size(train)
    start = "the whole batch" if size == train.batch_size else f"micro-batches of {size}"
    return f"memory cannot be predicted ({error}); training starts with {start}, halved if memory runs out. {ADVICE}"


def _recomputable(train: Train, simulation: Simulation) -> tuple[list[nn.Module], list[str]]:
    """The blocks whose activations may be recomputed, and a line where the recipe asks for it in vain."""
    if train.activation_checkpointing == "off":
        return [], []
    reason = "it has no blocks of layers in a ModuleList or Sequential"
    try:
        blocks = simulation.recomputable
    except SimulationError as error:
        blocks, reason = [], str(error)
    if blocks or train.activation_checkpointing == "auto":
        return blocks, []
    return [], [f'train.activation_checkpointing = "on" changes nothing for this network: {reason}']


def _plan(recipe: Recipe, simulation: Simulation, device: Device) -> Plan:
    """The plan for what may be taken.

    Raises:
        SimulationError: if the step cannot be predicted.
        TrainingError: if nothing fits.
    """
    train = recipe.train
    budget = device.available() if train.memory == "auto" else parse_size(train.memory)
    plan = choose(simulation, budget, checkpointing=train.activation_checkpointing)
    if not plan.fits:
        raise misfit(simulation, plan, f"free on {device}" if train.memory == "auto" else "train.memory")
    return plan


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
        if size or name != "resident":
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


def _device(recipe: Recipe, named: Named) -> tuple[Device, int]:
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
