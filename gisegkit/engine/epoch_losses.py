"""The losses of an epoch's steps: left on the device, read at log points, and checked there to be finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gisegkit.engine.device import Device
from gisegkit.errors import TrainingError


@dataclass(frozen=True)
class _Entry:
    """One step: its terms ``[T]`` on the device, its images, its number from 1, and its learning rate."""

    terms: torch.Tensor
    images: int
    step: int
    rate: float


class Ledger:
    """Collects the terms of every step of one epoch.

    Reading them waits for the device, so it happens every ``device.log_every`` steps and at the epoch's end. Steps
    after one that was not finite may have spoilt weights; none is saved before the end is read.

    Args:
        names: of the T terms.
        epoch: numbered from 1.

    Attributes:
        images: of the steps that were read.
    """

    def __init__(self, names: Sequence[str], *, device: Device, epoch: int) -> None:
        self.names = tuple(names)
        self.device = device
        self.epoch = epoch
        self.images = 0
        self._sums = torch.zeros(len(self.names), dtype=torch.float64)
        self._waiting: list[_Entry] = []

    def add(self, terms: torch.Tensor, *, images: int, step: int, rate: float) -> None:
        """Note one step.

        Args:
            terms: ``[T]``, means over the step's images.
            step: numbered from 0.
            rate: the learning rate.

        Raises:
            TrainingError: at a log point, if a loss was not finite since the last one; names the first such step.
        """
        self._waiting.append(_Entry(terms, images, step + 1, rate))
        if len(self._waiting) >= self.device.log_every:
            self.read()

    def read(self) -> None:
        """Read what waits; raises as ``add`` does."""
        if not self._waiting:
            return
        values = torch.stack([entry.terms for entry in self._waiting]).cpu().double()  # [N, T]
        for entry, row in zip(self._waiting, values, strict=True):
            if not row.isfinite().all():
                raise TrainingError(self._not_finite(entry, row))
            self._sums += row * entry.images
            self.images += entry.images
        self._waiting.clear()

    def means(self) -> torch.Tensor:
        """The mean of each term over the epoch's images, ``[T]`` float64; reads what waits, and raises as ``add``."""
        self.read()
        return self._sums / self.images

    def _not_finite(self, entry: _Entry, row: torch.Tensor) -> str:
        values = ", ".join(f"{name} {value:g}" for name, value in zip(self.names, row.tolist(), strict=True))
        return (
            f"the loss is not finite at epoch {self.epoch}, step {entry.step}: {values} (learning rate "
            f"{entry.rate:g}, {self.device}). Lower the learning rate (--set optimizer.lr=...), clip gradients "
            "(--set train.max_grad_norm=1.0) or compute in float32 (--set train.precision=fp32); last.pt holds the "
            "last finished epoch."
        )
