"""How much memory a training step will take, found without running it.

Forward and backward pass go through fake tensors, which have shapes and types but no values: every tensor that a pass
would create is counted from its creation until nothing refers to it. A machine without a GPU can so predict for one.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from gisegkit.engine.checkpointing import find_blocks, switched, watch_inputs
from gisegkit.engine.device import Device
from gisegkit.engine.tally import Tally, autocast_like, size_of

FRAGMENTATION = 0.05
"""Share of the activations that is added, because freed memory comes in pieces that do not always fit."""

LIBRARIES = 64 * 2**20
"""Bytes that the matrix and convolution libraries of a GPU keep for themselves."""

CONTEXT = 600 * 2**20
"""Bytes that a process needs on a GPU before its first tensor; free memory, once measured, is without them."""


@dataclass(frozen=True)
class Estimate:
    """The peak of a training step in bytes, by what they are for.

    Attributes:
        micro_batch: slices on the device at once.
        checkpointing: whether activations are computed again for the backward pass.
        parameters: weights and buffers, and the copy of the buffers that a repeated step starts from.
        gradients: of the weights, kept between micro-batches.
        optimizer: what the optimizer remembers of each weight.
        batch: images and targets of the whole effective batch.
        activations: the peak of what forward pass, loss and backward pass of one micro-batch create.
        workspace: an allowance for what convolutions need beside that, and for memory in pieces.
        context: the GPU's own share, where the budget is that of a whole card.
        resident: the training slices, where they are kept on the device.
        average: the second copy of weights and buffers that ``[train] average`` keeps.
    """

    micro_batch: int
    checkpointing: bool
    parameters: int
    gradients: int
    optimizer: int
    batch: int
    activations: int
    workspace: int
    context: int
    resident: int = 0
    average: int = 0

    @property
    def fixed(self) -> int:
        """What does not depend on the micro-batch."""
        return sum(self.parts.values()) - self.activations - self.workspace

    @property
    def total(self) -> int:
        """The predicted peak."""
        return self.fixed + self.activations + self.workspace

    @property
    def parts(self) -> dict[str, int]:
        """The bytes by name."""
        names = "parameters gradients average optimizer batch activations workspace context resident"
        return {name: getattr(self, name) for name in names.split()}


@dataclass(frozen=True)
class Simulation:
    """A training step that can be simulated at any size.

    Attributes:
        model: the network, on any device; neither it nor its weights are changed.
        criterion: ``(logits, target)`` to a scalar.
        channels, classes, size: of the network's input and output; size is height and width in pixels.
        targets: weighted targets of a batch (2 with mixup).
        batch_size: slices of the effective batch.
        device: type (cpu, cuda, mps) and precision to simulate; the device need not exist.
        state_per_weight: numbers that the optimizer keeps for each weight.
        whole_device: whether the budget is a whole GPU, so that its context counts.
        resident: bytes of training slices that are kept on the device.
        averaged: whether an average of the weights is kept.
        owners: what the user calls the network (key ``model``) and each of the criterion's losses (key: its name), for
            the reason why a step cannot be predicted.
        notes: what could not be found out and was assumed, a line each.
    """

    model: nn.Module
    criterion: nn.Module
    channels: int
    classes: int
    size: tuple[int, int]
    targets: int
    batch_size: int
    device: Device
    state_per_weight: float
    whole_device: bool = False
    resident: int = 0
    averaged: bool = False
    owners: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def estimate(self, micro_batch: int, *, checkpointing: bool = False) -> Estimate:
        """The peak of a step in micro-batches of that many slices.

        Raises:
            SimulationError: if the network or the loss looks at values, which fake tensors do not have, or fails in
                any other way; names which of them.
        """
        try:
            tally = self._run(micro_batch, checkpointing=checkpointing)
        except LonelyValueError as error:
            raise SimulationError(str(error)) from error
        weights = sum(size_of(parameter) for parameter in self.model.parameters())
        trained = sum(size_of(parameter) for parameter in self.model.parameters() if parameter.requires_grad)
        buffers = sum(size_of(buffer) for buffer in self.model.buffers())
        pixels = self.batch_size * self.size[0] * self.size[1]
        on_gpu, ahead = self.device.device.type != "cpu", self.device.device.type == "cuda"
        return Estimate(
            micro_batch=micro_batch,
            checkpointing=checkpointing,
            parameters=weights + 2 * buffers,
            gradients=trained,
            optimizer=round(trained * self.state_per_weight),
            # Images before and after the transforms in float32, masks in bytes, targets in float32; images and masks
            # of the next batch where it is copied during the step.
            batch=pixels * ((2 + ahead) * 4 * self.channels + self.classes * (1 + ahead + 4 * self.targets)),
            activations=max(tally.peak, trained),  # the optimizer's own intermediate results take one copy
            workspace=tally.workspace + round(FRAGMENTATION * tally.peak) + LIBRARIES * on_gpu,
            context=CONTEXT * (on_gpu and self.whole_device),
            resident=self.resident,
            average=(weights + buffers) * self.averaged,
        )

    def least(self) -> int:
        """Slices that a micro-batch must have: 2 where batch normalization sees a single value a channel, else 1."""
        try:
            self._run(1, checkpointing=False)
        except LonelyValueError:
            return 2
        return 1

    def at_least(self, micro_batch: int) -> int:
        """Bytes that a step without recomputation takes for certain, known without simulating it.

        Weights, gradients, and what convolutions hand to the backward pass, seen when ``recomputable`` was looked for;
        0 where it was not.
        """
        kept = self.__dict__.get("_kept_of_two", 0) * self.device.dtype.itemsize / 4
        weights = sum(size_of(parameter) for parameter in self.model.parameters())
        return int(2 * weights + kept * micro_batch / 2) if kept else 0

    @functools.cached_property
    def recomputable(self) -> list[nn.Module]:
        """The network's blocks that can be checkpointed: those that leave their own input as it is.

        Raises:
            SimulationError: as in ``estimate``.
        """
        with _simulating(self.model, self.owners.get("model", "")), torch.no_grad():
            blocks = find_blocks(self.model)
            state = {name: _hollow(value) for name, value in _state(self.model)}
            with watch_inputs(blocks) as spoilt, Tally() as tally:
                torch.func.functional_call(self.model, state, (torch.empty(2, self.channels, *self.size),))
        self.__dict__["_kept_of_two"] = tally.convolved
        return [block for block in blocks if block not in spoilt]

    def _run(self, count: int, *, checkpointing: bool) -> Tally:
        known: dict[tuple[int, bool], Tally] = self.__dict__.setdefault("_known", {})
        if (count, checkpointing) not in known:
            known[count, checkpointing] = self._simulated(count, checkpointing)
        return known[count, checkpointing]

    def _simulated(self, count: int, checkpointing: bool) -> Tally:
        recomputed = self.recomputable if checkpointing else []
        step = _Step(self.model, self.criterion, self.targets, self.device)
        with (
            step.watched(self.owners) as at,
            _simulating(self.model, at),
            switched(find_blocks(self.model), on=recomputed),
        ):
            tally = Tally()
            state = {name: _hollow(value) for name, value in _state(step)}
            for parameter in state.values():
                if parameter.requires_grad:
                    parameter.grad = torch.empty_like(parameter)
            images = torch.empty(count, self.channels, *self.size)
            masks = torch.empty(count, self.classes, *self.size)
            with tally, torch.autograd.set_multithreading_enabled(False):
                torch.func.functional_call(step, state, (images, masks))
        return tally


class SimulationError(Exception):
    """A network or loss whose memory cannot be predicted; the text says which and why."""


class LonelyValueError(Exception):
    """Batch normalization that would see a single value a channel."""


@contextlib.contextmanager
def _simulating(model: nn.Module, at: Sequence[str] | str) -> Iterator[None]:
    """Tensors without values, the network in training mode, and its generators as they were.

    Args:
        at: what runs; of several, the last.

    Raises:
        SimulationError: for whatever goes wrong inside, so that no prediction ends a training.
        LonelyValueError: if that is batch normalization which cannot train on so few slices.
    """
    was_training = model.training
    model.train()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.random.fork_rng(devices=[]):
            yield
    except Exception as error:
        if "more than 1 value per channel" in str(error):
            raise LonelyValueError(_cause(error)) from error
        place = at if isinstance(at, str) else at[-1]
        raise SimulationError(f"{place}: {_cause(error)}" if place else _cause(error)) from error
    finally:
        model.train(was_training)


class _Step(nn.Module):
    """Forward and backward pass as one module, so that a recomputed block finds the fake weights again."""

    def __init__(self, model: nn.Module, criterion: nn.Module, targets: int, device: Device) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion
        self.targets = targets
        self.device = device

        self.at: list[str] = [""]

    def forward(self, images: torch.Tensor, masks: torch.Tensor) -> None:
        with autocast_like(self.device):
            logits = self.model(images)
        self.at.append("")
        loss = sum(self.criterion(logits, masks) for _ in range(self.targets))
        assert isinstance(loss, torch.Tensor)
        self.at.append("the backward pass")
        loss.backward()  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def watched(self, owners: Mapping[str, str]) -> Iterator[list[str]]:
        """Gives a list whose last item is what runs, in the words of ``owners``."""
        self.at = [owners.get("model", "")]
        parts = zip(getattr(self.criterion, "names", ()), getattr(self.criterion, "losses", ()), strict=False)

        def enter(word: str) -> Callable[[nn.Module, Any], None]:
            return lambda module, args: self.at.append(word)

        hooks = [loss.register_forward_pre_hook(enter(owners.get(name, f"loss {name!r}"))) for name, loss in parts]
        try:
            yield self.at
        finally:
            for hook in hooks:
                hook.remove()


def _state(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _hollow(value: torch.Tensor) -> torch.Tensor:
    """A fake tensor like the value, on the CPU."""
    return torch.empty(value.shape, dtype=value.dtype, requires_grad=value.requires_grad)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
