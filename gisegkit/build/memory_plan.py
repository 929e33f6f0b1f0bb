"""How a recipe's training step is made to fit the memory of a device."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from torch import nn

from gisegkit.engine.checkpointing import enable
from gisegkit.engine.criterion import Criterion
from gisegkit.engine.device import Device
from gisegkit.engine.memory import Simulation, SimulationError
from gisegkit.engine.plan import Plan, check_room, choose, doubts, even, misfit
from gisegkit.engine.step import MicroBatching
from gisegkit.engine.trial import count_targets, optimizer_state
from gisegkit.errors import count
from gisegkit.machine import parse_size
from gisegkit.recipe.sections import ComponentSpec, Recipe, Train

if TYPE_CHECKING:
    from gisegkit.build.experiment import Experiment

ADVICE = "docs/plugins.md, Memory, says what a network or loss must not do to be predicted"


def cuts_by_memory(train: Train, device: Device) -> bool:
    """Whether batches are cut by what is predicted to fit; on a CPU only where ``[train] memory`` is set.

    What is free there changes from minute to minute, and must not change a result.
    """
    return train.micro_batch == "auto" and (device.device.type != "cpu" or train.memory != "auto")


def needs_prediction(recipe: Recipe, device: Device) -> bool:
    """Whether training asks what its step will take: to cut its batches, or for slices that are kept beside it."""
    return cuts_by_memory(recipe.train, device) or recipe.input.store == "device"


def simulate(
    experiment: Experiment,
    *,
    channels: int | None = None,
    classes: int | None = None,
    device: Device | None = None,
    model: nn.Module | None = None,
    resident: int | None = None,
    include_context: bool = False,
    needed: bool = True,
) -> Simulation:
    """The recipe's training step as one whose memory can be predicted.

    Args:
        channels, classes, device, model, resident: as of ``Simulation``; default the experiment's own.
        include_context: whether what the process itself takes of the device counts.
        needed: whether it will be predicted; batch transforms and optimizer are not tried otherwise.
    """
    recipe = experiment.recipe
    channels = experiment.channels if channels is None else channels
    classes = len(experiment.classes) if classes is None else classes
    if resident is None:
        resident = experiment.resident.size if experiment.resident else 0

    targets, state, notes = _tried(experiment, channels, classes) if needed else (1, 0.0, ())
    criterion = experiment.criterion
    every = Criterion(list(zip(criterion.names, criterion.weights, criterion.losses, strict=True)))
    losses = zip(every.names, [_owner(experiment, spec) for spec in recipe.loss], strict=False)
    return Simulation(
        model=experiment.model if model is None else model,
        criterion=every,  # each loss counts: a schedule must not make a later epoch larger than the plan
        channels=channels,
        classes=classes,
        size=recipe.input.size,
        targets=targets,
        batch_size=recipe.train.batch_size,
        device=device or experiment.device,
        state_per_weight=state,
        whole_device=include_context,
        resident=resident,
        averaged=recipe.train.average != "none",
        owners={"model": _owner(experiment, recipe.model), **dict(losses)},
        notes=tuple(filter(None, notes)),
    )


def _owner(experiment: Experiment, spec: ComponentSpec) -> str:
    return f"{spec.kind} {spec.name!r} of {experiment.owner(spec)}"


def _tried(experiment: Experiment, channels: int, classes: int) -> tuple[int, float, tuple[str, ...]]:
    """Weighted targets of a batch, numbers that the optimizer remembers of a weight, and notes of what cannot be tried.

    The optimizer is built once more, for a made-up weight.
    """
    recipe = experiment.recipe
    owners = [_owner(experiment, spec) for spec in recipe.batch_transform]
    transforms = list(zip(owners, experiment.transforms, strict=True))
    targets, first = count_targets(transforms, channels=channels, classes=classes, size=recipe.input.size)
    state, second = optimizer_state(
        _owner(experiment, recipe.optimizer), functools.partial(experiment.build, recipe.optimizer)
    )
    return targets, state, (first, second)


def choose_micro_batches(
    train: Train, simulation: Simulation, device: Device, *, size: int = 1
) -> tuple[MicroBatching, Plan | None, str]:
    """How training on a device that is here cuts its batches.

    Args:
        size: how many processes train together; each takes what is planned here.

    Returns:
        The micro-batching, with recomputation switched on where recipe or plan say so; the plan (None if nothing is
        planned); and what is to be said about it, in lines.

    Raises:
        TrainingError: if not even the smallest micro-batch fits, or what is to be kept on the device does not fit
            beside the recipe's; says what would help.
    """
    by_memory = cuts_by_memory(train, device)
    blocks, lines = _recomputable(train, simulation)
    plan = None
    if by_memory:
        try:
            plan = _plan(train, simulation, device)
            lines += [*simulation.notes, f"memory: {plan.in_words(train.batch_size)}"]
        except SimulationError as error:
            lines.append(unpredictable(train, error))
    elif simulation.resident:
        lines += simulation.notes
    together, own, pieces = cut(train, plan, size)
    recompute = plan.checkpointing if plan else train.activation_checkpointing == "on"
    check_room(simulation, own, device, checkpointing=recompute and bool(blocks))
    if plan is None and not recompute and train.micro_batch == "auto":
        lines += doubts(simulation, own, device)
    lines += pieces_in_words(together, pieces, size)
    if recompute:
        enable(blocks)
    least = plan.least if plan else getattr(simulation.model, "min_train_batch", 1)
    return MicroBatching(together, least, blocks, pieces=pieces), plan, "\n".join(lines)


def cut(train: Train, plan: Plan | None, size: int) -> tuple[int, int, int]:
    """How batches are cut: slices of a micro-batch, those of them on one device, and pieces of a micro-batch.

    Args:
        plan: says what one device holds; None if nothing is planned.
        size: how many processes share the pieces.
    """
    pieces = size if train.pieces == "auto" else int(train.pieces)
    at_most = -(-pieces // size)  # pieces of one process
    together = settled_size(train)
    if plan is not None:
        together = even(train.batch_size, min(train.batch_size, plan.micro_batch * pieces // at_most))
    return together, -(-together * at_most // pieces), pieces


def pieces_in_words(together: int, pieces: int, size: int) -> list[str]:
    """A line where batches are cut into pieces: how many there are, and of several processes what each does."""
    if pieces == size == 1:
        return []
    idle = f"; {size - pieces} of them have no piece to train on, only scans to validate" if pieces < size else ""
    of_all = f" for {size} processes{idle}" if size > 1 else ""
    return [f"up to {together} slices at a time are trained on in {count(pieces, 'piece')}{of_all}"]


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


def _plan(train: Train, simulation: Simulation, device: Device) -> Plan:
    """The plan for what may be taken.

    Raises:
        SimulationError: if the step cannot be predicted.
        TrainingError: if nothing fits.
    """
    budget = device.available() if train.memory == "auto" else parse_size(train.memory)
    plan = choose(simulation, budget, checkpointing=train.activation_checkpointing)
    if not plan.fits:
        raise misfit(simulation, plan, f"free on {device}" if train.memory == "auto" else "train.memory")
    return plan
