"""Weights to deploy: those of training, or an average over its steps or epochs (EMA, SWA). See ``[train] average``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

WARM_UP = 10
"""Steps over which the decay of an EMA grows: it is (1 + t) / (10 + t) at step t, until that reaches the decay."""

Batches = Callable[[], Iterable[torch.Tensor]]
"""Gives images ``[B, C, H, W]`` on the device, as the network gets them in training; the same at each call."""


class Average:
    """The weights to deploy are those of training: averages nothing. The base of the two that do.

    ``state_dict`` is what a checkpoint keeps to resume exactly.

    Attributes:
        first: the first epoch, from 1, in which weights count in a mean of several; 0 if all do, or there is none.
    """

    first = 0

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.count = 0

    def after_step(self) -> None:
        """Called after each optimizer step."""

    def after_epoch(self, epoch: int, batches: Batches) -> None:
        """Called after the last step of an epoch, numbered from 1.

        Args:
            batches: gives training images for running statistics.
        """

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While this is open the network holds the weights to deploy."""
        yield

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on; empty if nothing is averaged."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The reverse of ``state_dict``."""


class _Averaged(Average):
    """An average in a second copy of the network's weights and buffers, which takes their place while it is applied.

    Attributes:
        count: how often the average was moved; kept on the host, so that no step waits for the device.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        every = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.live = every
        self.mean = {name: value.detach().clone() for name, value in every.items()}

    @torch.no_grad()
    def move(self, share: float) -> None:
        """Move the average by a share of the way to the weights of training; whole numbers (counters) are copied."""
        averaged = [name for name, value in self.live.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.mean[name] for name in averaged], [self.live[name] for name in averaged], share)
        for name in self.live.keys() - set(averaged):
            self.mean[name].copy_(self.live[name])
        self.count += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While this is open the network holds the average."""
        if not self.count:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        """The network and the average change places; tensors stay the same objects, and nothing is copied."""
        for name, value in self.live.items():
            value.data, self.mean[name] = self.mean[name], value.data

    def state_dict(self) -> dict[str, Any]:
        """The network's state with the average in it, and how often it was moved."""
        with self.applied():
            return {"weights": self.model.state_dict(), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over an average; raises what ``Module.load_state_dict`` raises if it is not one of this network."""
        self.count = int(state["count"])
        with self.applied():
            self.model.load_state_dict(state["weights"])


class Ema(_Averaged):
    """An exponential moving average over optimizer steps; running statistics are averaged as the weights are.

    The average starts as the first step's weights, since its decay grows from 0.1: a long memory would hold the random
    start for most of a short training.

    Args:
        decay: share of the average that each step keeps; its memory is about 1 / (1 - decay) steps.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        super().__init__(model)
        self.decay = decay

    def after_step(self) -> None:
        """Take the step in."""
        self.move(1 - min(self.decay, (1 + self.count) / (WARM_UP + self.count)))


class Swa(_Averaged):
    """The plain mean of the weights at the ends of the last epochs, or after some steps (stochastic weight averaging).

    No mean of weights has the running statistics of batch normalization that its activations need; they are computed
    anew from batches of training slices (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
    Generalization", algorithm 1).

    Args:
        first: the first epoch, from 1, whose end counts.
        snapshots: the steps of the whole training, from 1, after which the weights count; default the ends of epochs.
    """

    def __init__(self, model: nn.Module, *, first: int, snapshots: Sequence[int] = ()) -> None:
        super().__init__(model)
        self.first = first
        self.snapshots = frozenset(snapshots)
        self.steps = 0
        self._moved = False  # since the running statistics were computed

    def after_step(self) -> None:
        """Take the step in if it is a snapshot."""
        self.steps += 1
        if self.steps in self.snapshots:
            self._take_in()

    def _take_in(self) -> None:
        self.move(1 / (self.count + 1))
        self._moved = True

    def state_dict(self) -> dict[str, Any]:
        """That of the average, and how many steps have been made."""
        return {**super().state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The reverse of ``state_dict``."""
        super().load_state_dict(state)
        self.steps = int(state.get("steps", 0))  # older checkpoints have no snapshots

    def after_epoch(self, epoch: int, batches: Batches) -> None:
        """Take the epoch's end in if it counts, and compute the running statistics of an average that was moved."""
        if not self.snapshots and epoch >= self.first:
            self._take_in()
        if self._moved:
            self._moved = False
            with self.applied(), torch.no_grad(), _kept(self.model):
                update_bn(batches(), self.model)


@contextlib.contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Batch normalization that does not train, as in frozen parts, keeps its statistics: torch resets those of all."""
    model.train()
    still = [module for module in model.modules() if isinstance(module, _BatchNorm) and not module.training]
    kept = [(buffer, buffer.clone()) for module in still for buffer in module.buffers(recurse=False)]
    yield
    for buffer, values in kept:
        buffer.copy_(values)
