"""The network as a training step calls it: compiled where that is asked for, and ready to begin a step again."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gisegkit.engine.pieces import Network, at_once


class Forward:
    """A network's forward pass in training, and the buffers (running statistics) that a repeated step starts from.

    The network itself is never wrapped, so that the keys of its state are the same with and without compilation.

    Args:
        model: the network, on its device.
        compiled: whether to compile it, at its first call, with ``torch.compile``.
        pieces: calls it on images, at once or piece by piece.
        fails_alone: whether other processes wait inside a forward pass that fails here, so that none can be repeated.

    Attributes:
        failed: whether the last attempt ended inside ``blamed``, while the network was compiled.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        compiled: bool = False,
        pieces: Callable[[Network, torch.Tensor], torch.Tensor] = at_once,
        fails_alone: bool = False,
    ) -> None:
        self.model = model
        self.fails_alone = fails_alone
        self.pieces = pieces
        self.compiled = compiled
        self.failed = False
        self._call: Any = None
        groups = defaultdict(list)
        for buffer in model.buffers():
            groups[buffer.device, buffer.dtype].append(buffer)
        self._groups = list(groups.values())
        self._kept: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """``[B, C, H, W]`` to logits ``[B, K, H, W]`` in float32, so that gradients of several losses add up in it."""
        if self.compiled and self._call is None:
            self._call = torch.compile(self.model)
        return self.pieces(self._call or self.model, images).float()

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """An error inside may be the compiler's: for the network's own forward and backward pass, and nothing else."""
        try:
            yield
        except Exception:
            self.failed = self.compiled
            raise

    def snapshot_buffers(self) -> None:
        """Remember the buffers as they are, in one copy for all of a kind: there are hundreds of small ones."""
        self._kept = [torch.cat([buffer.flatten() for buffer in group]) for group in self._groups]

    def reset_for_retry(self) -> None:
        """Without gradients, and with the buffers as they were kept."""
        self.failed = False
        self.model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for group, kept in zip(self._groups, self._kept, strict=True):
                pieces = torch.split(kept, [buffer.numel() for buffer in group])
                for buffer, values in zip(group, pieces, strict=True):
                    buffer.copy_(values.view(buffer.shape))

    def give_up(self, cause: str) -> str:
        """Call the network as it is from now on; returns a line that says so."""
        self.compiled, self._call = False, None
        return f"train.compile = true: training continues without compilation, because it failed with {cause}"


def in_short(error: BaseException) -> str:
    """An error's type and the first line of its text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
