"""How much memory a training step will take, found without running it.

Forward and backward pass go through fake tensors, which have shapes and types but no values: every tensor that a pass
would create is counted from its creation until nothing refers to it. A machine without a GPU can so predict for one.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gisegkit.engine.checkpointing import disable, enable, find_blocks, watch_inputs
from gisegkit.engine.device import Device

BLOCK = 512
"""Bytes; the caching allocator of CUDA rounds every tensor up to a multiple of it."""

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

    @property
    def fixed(self) -> int:
        """What does not depend on the micro-batch."""
        return self.parameters + self.gradients + self.optimizer + self.batch + self.context + self.resident

    @property
    def total(self) -> int:
        """The predicted peak."""
        return self.fixed + self.activations + self.workspace

    @property
    def parts(self) -> dict[str, int]:
        """The bytes by name."""
        names = ("parameters", "gradients", "optimizer", "batch", "activations", "workspace", "context", "resident")
        return {name: getattr(self, name) for name in names}


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

    def estimate(self, micro_batch: int, *, checkpointing: bool = False) -> Estimate:
        """The peak of a step in micro-batches of that many slices.

        Raises:
            SimulationError: if the network or the loss looks at values, which fake tensors do not have.
        """
        tally = self._run(micro_batch, checkpointing=checkpointing)
        weights = sum(_size(parameter) for parameter in self.model.parameters())
        trained = sum(_size(parameter) for parameter in self.model.parameters() if parameter.requires_grad)
        buffers = sum(_size(buffer) for buffer in self.model.buffers())
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
        )

    def least(self) -> int:
        """Slices that a micro-batch must have: 2 where batch normalisation sees a single value a channel, else 1."""
        try:
            self._run(1, checkpointing=False)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                return 2
            raise
        return 1

    @functools.cached_property
    def recomputable(self) -> list[nn.Module]:
        """The network's blocks that can be checkpointed: those that leave their own input as it is.

        Raises:
            SimulationError: as in ``estimate``.
        """
        blocks = find_blocks(self.model)
        was_training = self.model.training
        self.model.train()
        try:
            with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), torch.random.fork_rng(devices=[]):
                state = {name: _hollow(value) for name, value in _state(self.model)}
                with watch_inputs(blocks) as spoilt:
                    torch.func.functional_call(self.model, state, (torch.empty(2, self.channels, *self.size),))
        except (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError) as error:
            raise SimulationError(_cause(error)) from error
        finally:
            self.model.train(was_training)
        return [block for block in blocks if block not in spoilt]

    def _run(self, count: int, *, checkpointing: bool) -> Tally:
        known: dict[tuple[int, bool], Tally] = self.__dict__.setdefault("_known", {})
        if (count, checkpointing) not in known:
            known[count, checkpointing] = self._simulated(count, checkpointing)
        return known[count, checkpointing]

    def _simulated(self, count: int, checkpointing: bool) -> Tally:
        blocks = self.recomputable if checkpointing else []
        shape = (count, self.channels, *self.size)
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        tally = Tally()
        was_training = self.model.training
        self.model.train()
        enable(blocks)
        try:
            with fake, torch.random.fork_rng(devices=[]):
                step = _Step(self.model, self.criterion, self.targets, self.device)
                state = {name: _hollow(value) for name, value in _state(step)}
                for parameter in state.values():
                    if parameter.requires_grad:
                        parameter.grad = torch.empty_like(parameter)
                images = torch.empty(shape)
                masks = torch.empty(count, self.classes, *self.size)
                with tally, torch.autograd.set_multithreading_enabled(False):
                    torch.func.functional_call(step, state, (images, masks))
        except (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError) as error:
            if "more than 1 value per channel" in str(error):
                raise
            raise SimulationError(_cause(error)) from error
        finally:
            disable(blocks)
            self.model.train(was_training)
        return tally


class SimulationError(Exception):
    """A network or loss whose memory cannot be predicted; the text says why."""


class _Step(nn.Module):
    """Forward and backward pass as one module, so that a recomputed block finds the fake weights again."""

    def __init__(self, model: nn.Module, criterion: nn.Module, targets: int, device: Device) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion
        self.targets = targets
        self.device = device

    def forward(self, images: torch.Tensor, masks: torch.Tensor) -> None:
        with _autocast(self.device):
            logits = self.model(images)
        loss = sum(self.criterion(logits, masks) for _ in range(self.targets))
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]


class Tally(TorchDispatchMode):
    """Counts the bytes of the tensors that operations create, while anything refers to them.

    Attributes:
        peak: the most bytes that lived at once.
        workspace: bytes of input and output of the largest convolution.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self.workspace = 0
        self._live: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        known = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        given = {tensor.untyped_storage()._cdata for tensor in known}
        for tensor in tensors:
            if tensor.untyped_storage()._cdata not in given:
                self._add(tensor.untyped_storage())
        if "convolution" in str(func):
            self.workspace = max(self.workspace, sum(map(_size, tensors)) + sum(map(_size, known[:1])))
        return output

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, -(-storage.nbytes() // BLOCK) * BLOCK
        if key in self._live:
            return
        self._live.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._live.discard(key)
        self.now -= size


FULL_PRECISION = ("layer_norm", "group_norm", "softmax", "log_softmax", "normalize", "norm", "exp", "pow", "sum")
"""What CUDA's autocast computes in float32 and the CPU's in half precision."""


class _LikeCuda(TorchFunctionMode):
    """Autocast of CUDA on the CPU: the operations above get their input in float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in FULL_PRECISION and args and isinstance(args[0], torch.Tensor):
            args = (args[0].float() if args[0].is_floating_point() else args[0], *args[1:])
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _autocast(device: Device) -> Iterator[None]:
    if device.dtype is torch.float32:
        yield
        return
    like = _LikeCuda() if device.device.type == "cuda" else contextlib.nullcontext()
    with torch.autocast("cpu", dtype=device.dtype), like:
        yield


def state_per_weight(build: Callable[..., torch.optim.Optimizer]) -> float:
    """Numbers that an optimizer keeps for each weight, seen on a small one: 2 for Adam.

    Args:
        build: called as ``build(params=[...])``.
    """
    weight = nn.Parameter(torch.zeros(64, 64))
    optimizer = build(params=[weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    kept = [leaf for leaf in tree_leaves(dict(optimizer.state)) if isinstance(leaf, torch.Tensor)]
    return sum(_size(tensor) for tensor in kept if tensor.numel() > 1) / _size(weight)


def _state(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _hollow(value: torch.Tensor) -> torch.Tensor:
    """A fake tensor like the value, on the CPU."""
    return torch.empty(value.shape, dtype=value.dtype, requires_grad=value.requires_grad)


def _size(value: torch.Tensor) -> int:
    return value.numel() * value.element_size()


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
