"""Chooses the micro-batch: the largest that fits, with activation checkpointing where a healthy one needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from gisegkit.engine.device import Device
from gisegkit.engine.memory import Estimate, Simulation, SimulationError
from gisegkit.errors import TrainingError
from gisegkit.machine import show_size

HEALTHY = 8
"""Slices from which batch normalization's statistics are good enough; below it, checkpointing comes first."""

KEPT = 'the slices that input.store = "device" keeps there'

STRIDE = 32
"""Pixels; a proposed image size is a multiple of it."""


@dataclass(frozen=True)
class Plan:
    """How a training step is cut so that it fits.

    Attributes:
        micro_batch: slices on the device at once.
        checkpointing: whether activations are computed again for the backward pass.
        least: the fewest slices that a micro-batch may have.
        budget: bytes that the step may take.
        estimate: the predicted peak.
    """

    micro_batch: int
    checkpointing: bool
    least: int
    budget: int
    estimate: Estimate

    @property
    def fits(self) -> bool:
        """Whether the predicted peak is within the budget."""
        return self.estimate.total <= self.budget

    def in_words(self, batch_size: int) -> str:
        """One line: what is planned, and what it is predicted to take."""
        passes = -(-batch_size // self.micro_batch)
        how = (
            f"{passes} passes of up to {self.micro_batch} slices" if passes > 1 else f"all {batch_size} slices at once"
        )
        recompute = ", activations recomputed" if self.checkpointing else ""
        return f"{how}{recompute}: {show_size(self.estimate.total)} predicted of {show_size(self.budget)}"

    def as_dict(self) -> dict[str, Any]:
        """The plan as data, sizes in bytes."""
        own = {"micro_batch": self.micro_batch, "checkpointing": self.checkpointing, "least": self.least}
        return own | {"budget": self.budget, "predicted": self.estimate.total, "parts": self.estimate.parts}


def choose(simulation: Simulation, budget: int, *, checkpointing: str = "auto") -> Plan:
    """The plan for a budget; one that does not fit, with the smallest micro-batch, where none does.

    Args:
        simulation: the training step.
        budget: bytes.
        checkpointing: ``auto`` (where a healthy micro-batch does not fit without), ``on`` or ``off``.

    Raises:
        SimulationError: if the step's memory cannot be predicted.
        TrainingError: if the batch is smaller than batch normalization allows.
    """
    plain = None if checkpointing == "on" else _largest(simulation, budget, checkpointing=False)
    if plain is not None and (checkpointing == "off" or healthy(plain, simulation)):
        return plain
    spared = _largest(simulation, budget, checkpointing=True)
    if plain is None or spared.micro_batch > plain.micro_batch:
        return spared
    return plain if plain.fits or plain.estimate.total <= spared.estimate.total else spared


def healthy(plan: Plan, simulation: Simulation) -> bool:
    """Whether a plan fits with a micro-batch that batch normalization can work with."""
    return plan.fits and plan.micro_batch >= min(HEALTHY, simulation.batch_size)


def _largest(simulation: Simulation, budget: int, *, checkpointing: bool) -> Plan:
    """The largest micro-batch that fits, cut evenly; the smallest possible where none fits."""
    least = max(simulation.least(), getattr(simulation.model, "min_train_batch", 1))
    if simulation.batch_size < least:
        raise TrainingError(
            f"batch normalization in this network sees a single value a channel of one slice, so a step needs {least} "
            f"slices or more: raise train.batch_size (it is {simulation.batch_size}) or input.size"
        )
    whole = simulation.estimate(simulation.batch_size, checkpointing=checkpointing)
    if whole.total <= budget or simulation.batch_size == least:
        return Plan(simulation.batch_size, checkpointing, least, budget, whole)
    low = simulation.estimate(least, checkpointing=checkpointing)
    high = whole
    # The peak is the largest of straight lines over the micro-batch, so it lies below the line through two of its
    # points: every guess fits, and the next one starts closer.
    while low.total <= budget:
        slope = (high.total - low.total) / (high.micro_batch - low.micro_batch)
        guess = low.micro_batch + int((budget - low.total) / slope)
        if guess <= low.micro_batch or guess >= high.micro_batch:
            break
        low = simulation.estimate(guess, checkpointing=checkpointing)
    size = even(simulation.batch_size, low.micro_batch)
    if size != low.micro_batch and size >= least:
        low = simulation.estimate(size, checkpointing=checkpointing)
    return Plan(low.micro_batch, checkpointing, least, budget, low)


def even(batch_size: int, micro_batch: int) -> int:
    """The micro-batch that needs no more passes than ``micro_batch`` and whose passes are as equal as can be."""
    passes = -(-batch_size // micro_batch)
    return -(-batch_size // passes)


def misfit(simulation: Simulation, plan: Plan, source: str) -> TrainingError:
    """The error for a plan that does not fit.

    Args:
        source: where the budget comes from.
    """
    kept = f" ({show_size(simulation.resident)} of it for {KEPT})" if simulation.resident else ""
    return TrainingError(
        f"a step of {plan.micro_batch} slices{', activations recomputed,' if plan.checkpointing else ''} is predicted "
        f"to take {show_size(plan.estimate.total)}{kept}, and there are {show_size(plan.budget)} ({source}). What "
        "would help:\n  "
        + "\n  ".join(ways_out(simulation, plan))
        + f"\nTo try all the same: --set train.micro_batch={plan.micro_batch}"
    )


def check_room(simulation: Simulation, micro_batch: int, device: Device, *, checkpointing: bool) -> None:
    """Check that slices that are kept on the device leave room for a step, also one that was not planned.

    Raises:
        TrainingError: if they do not.
    """
    if not simulation.resident:
        return
    try:
        step = simulation.estimate(micro_batch, checkpointing=checkpointing)
        needed, beside = step.total, f", and a step of {micro_batch} slices {show_size(step.total - step.resident)}"
    except SimulationError:
        needed, beside = simulation.resident, ""
    if needed > device.available():
        raise TrainingError(
            f"{KEPT} take {show_size(simulation.resident)}{beside}, and there are {show_size(device.available())} free "
            f"on {device}; --set input.store=resized leaves them in files, --set train.micro_batch=... makes the step "
            "smaller"
        )


def doubts(simulation: Simulation, size: int, device: Device) -> list[str]:
    """A line where a batch that was not planned is certain to need more than is free; it changes nothing."""
    needed, free = simulation.at_least(size), device.available()
    if needed <= free:
        return []
    return [
        f"memory: a step of {size} slices takes {show_size(needed)} or more, and there are {show_size(free)} free on "
        f"{device}. If it fails or is killed, --set train.memory={max(1, free // 2**20)}MiB cuts it to what fits"
    ]


def ways_out(simulation: Simulation, plan: Plan) -> Iterator[str]:
    """What would help where a plan does not fit or is not healthy, each with what it was predicted to give.

    A change that cannot be predicted, such as a size that the network refuses, is left out.
    """
    for setting, changed, checkpointing in _changes(simulation, plan):
        with contextlib.suppress(SimulationError, TrainingError):
            yield _offer(setting, choose(changed, plan.budget, checkpointing=checkpointing))
    size = simulation.size
    for _ in range(6):
        size = (_smaller(size[0]), _smaller(size[1]))
        if min(size) < 2 * STRIDE:
            break
        with contextlib.suppress(SimulationError, TrainingError):
            smaller = choose(replace(simulation, size=size), plan.budget)
            if healthy(smaller, simulation):
                yield _offer(f"input.size=[{size[0]},{size[1]}]", smaller)
                break
    yield "a smaller encoder, or fewer channels in the decoder"


def _changes(simulation: Simulation, plan: Plan) -> Iterator[tuple[str, Simulation, str]]:
    """Settings that may help, the step under each, and whether it recomputes activations."""
    if simulation.resident:
        yield "input.store=resized", replace(simulation, resident=0), "auto"
    if not plan.checkpointing:
        yield "train.activation_checkpointing=on", simulation, "on"
    if simulation.device.dtype is torch.float32 and simulation.device.device.type == "cuda":
        half = replace(simulation, device=replace(simulation.device, dtype=torch.bfloat16))
        yield "train.precision=bf16", half, "auto"


def _smaller(side: int) -> int:
    return max(STRIDE, int(side * 0.8) // STRIDE * STRIDE)


def _offer(setting: str, plan: Plan) -> str:
    fit = "" if plan.fits else ", still too much"
    return f"--set {setting}: micro-batch {plan.micro_batch}, {show_size(plan.estimate.total)}{fit}"
