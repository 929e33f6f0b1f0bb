"""Predicts scan by scan at native size, in order, holding a few batches and at most two scans in memory.

Beside a device that is not the CPU, slices are brought back to their size and decided in threads of their own, while
the device computes the batches behind them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from gisegkit.data.loaders import EvaluationSet, Input, evaluation_loader
from gisegkit.engine.device import Device
from gisegkit.engine.overlap import ordered
from gisegkit.engine.step import is_out_of_memory
from gisegkit.errors import TrainingError
from gisegkit.types import AnyArray, BoolArray, FloatArray, MaskArray, Progress, silent


class Postprocess(Protocol):
    """What a ``[[postprocess]]`` component returns: ``[D, H, W, K]`` to the same, before or after the threshold."""

    stage: str

    def __call__(self, volume: AnyArray) -> AnyArray: ...


@dataclass(frozen=True)
class Decision:
    """How logits become masks: probabilities, their post-processing, the threshold, post-processing of masks.

    Attributes:
        threshold: probability from which a pixel belongs to a class; with exclusive, of the class against background
            alone, so that 0.5 takes the most probable of classes and background.
        exclusive: whether the network was trained with softmax: a background of logit 0 beside the classes, and each
            pixel in one class at most.
    """

    threshold: float
    steps: tuple[Postprocess, ...] = ()
    exclusive: bool = False

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """``[B, K, H, W]`` to the same in [0, 1], float32."""
        logits = logits.float()
        if not self.exclusive:
            return logits.sigmoid()
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1).softmax(1)[:, 1:]

    def __call__(self, probabilities: FloatArray) -> BoolArray:
        """``[D, H, W, K]`` float in [0, 1] to bool."""
        for step in self.steps:
            if step.stage == "probabilities":
                probabilities = step(probabilities)
        masks: BoolArray = self._cut(probabilities)
        for step in self.steps:
            if step.stage == "masks":
                masks = step(masks)
        return masks

    def _cut(self, probabilities: FloatArray) -> BoolArray:
        if not self.exclusive:
            return np.asarray(probabilities >= self.threshold)
        background = 1 - probabilities.sum(-1, keepdims=True)
        first = probabilities.argmax(-1)[..., None] == np.arange(probabilities.shape[-1])
        return np.asarray(first & (probabilities >= self.threshold * (probabilities + background)))


@dataclass
class Scan:
    """One predicted scan; its slices in the order of their positions.

    Attributes:
        rows: rows of the dataset's table.
        prediction: ``[D, H, W, K]`` bool at native size.
        truth: ``[D, H, W, K]`` uint8 with IGNORE, None where the scan is not labelled.
    """

    volume: str
    rows: list[int]
    prediction: BoolArray
    truth: MaskArray | None


@dataclass
class _Open:
    """A scan whose slices are still coming in; they are copied into place, so that nothing is held twice."""

    volume: str
    rows: list[int]
    probabilities: FloatArray
    truth: MaskArray | None

    @classmethod
    def like(cls, volume: str, depth: int, values: FloatArray, mask: MaskArray | None) -> _Open:
        """An empty scan of so many slices as the one that is given."""
        truth = None if mask is None else np.empty((depth, *mask.shape), mask.dtype)
        return cls(volume, [], np.empty((depth, *values.shape), values.dtype), truth)

    def add(self, row: int, values: FloatArray, mask: MaskArray | None) -> None:
        if mask is None or self.truth is None:
            self.truth = None
        else:
            self.truth[len(self.rows)] = mask
        self.probabilities[len(self.rows)] = values
        self.rows.append(row)

    def close(self, decide: Decision) -> Scan:
        return Scan(self.volume, self.rows, decide(self.probabilities), self.truth)


@dataclass(frozen=True)
class _Slices:
    """A predicted batch: ``values`` waits for the device and gives the probabilities, ``[B, h, w, K]``."""

    rows: list[int]
    masks: list[MaskArray | None]
    values: Callable[[], torch.Tensor]


_Native = list[tuple[int, FloatArray, MaskArray | None]]
"""Row, probabilities ``[H, W, K]`` and mask of slices at native size."""


def predict_scans(
    model: nn.Module,
    source: Input,
    rows: Sequence[int] | AnyArray,
    *,
    decide: Decision,
    device: Device,
    batch_size: int,
    workers: int = 0,
    channels_last: bool = False,
    progress: Progress = silent,
    label: str = "predict",
) -> Generator[Scan]:
    """Yield every scan of ``rows`` once its last slice is predicted.

    Args:
        model: ``[B, C, h, w]`` to logits ``[B, K, h, w]``, already on the device.
        source: reads and resizes slices, and knows the way back.
        rows: rows of the table, in any order.
        decide: probabilities to masks; called for one scan at a time, in order.
        batch_size: slices on the device at once; a batch may hold slices of two scans.
        progress: shown per batch under ``label``.
    """
    table = source.dataset.table
    ordered_rows = np.sort(np.asarray(rows, dtype=np.int64))  # the table is sorted by volume and position
    loader = evaluation_loader(
        EvaluationSet(source, ordered_rows), batch_size=batch_size, workers=workers, pin=device.pin
    )

    def invert(batch: _Slices) -> _Native:
        values = batch.values().numpy()
        return [
            (row, source.geometry(row).invert(value), mask)
            for row, value, mask in zip(batch.rows, values, batch.masks, strict=True)
        ]

    was_training = model.training
    model.eval()
    batches = _predicted(model, progress(loader, label, len(loader)), device, decide, channels_last=channels_last)
    slices = ordered(invert, batches, threads=device.threads, ahead=2)
    volumes = table["volume"].to_numpy()
    whole = _whole(slices, volumes, Counter(map(str, volumes[ordered_rows])))
    scans = ordered(lambda scan: scan.close(decide), whole, threads=min(1, device.threads), ahead=1)
    try:
        with closing(slices), closing(scans):
            yield from scans
    finally:
        model.train(was_training)


def _predicted(
    model: nn.Module, loader: Iterable[Any], device: Device, decide: Decision, *, channels_last: bool
) -> Generator[_Slices]:
    """What the device computes, batch by batch; nothing here waits for it."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    for loaded in loader:
        images = device.take(loaded.images)[0].to(memory_format=memory_format)
        pieces = _forward(model, images, device, decide)
        probabilities = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        yield _Slices(loaded.rows, loaded.masks, device.hand_over(probabilities.permute(0, 2, 3, 1)))


def _whole(batches: Iterable[_Native], volumes: AnyArray, depths: Mapping[str, int]) -> Generator[_Open]:
    """The slices of each scan together; a scan is forgotten here once it is handed over."""
    current: list[_Open] = []  # one at most
    for batch in batches:
        for row, values, mask in batch:
            if not current:
                volume = str(volumes[row])
                current.append(_Open.like(volume, depths[volume], values, mask))
            current[0].add(row, values, mask)
            if len(current[0].rows) == len(current[0].probabilities):
                yield current.pop()


def _forward(model: nn.Module, images: torch.Tensor, device: Device, decide: Decision) -> list[torch.Tensor]:
    """The probabilities of ``[B, C, h, w]`` in one piece, or in as many as memory asks for.

    Raises:
        TrainingError: if not even a single slice fits.
    """
    try:
        with torch.inference_mode():
            with device.autocast():
                logits = model(images)
            return [decide.probabilities(logits)]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(images) == 1:
            raise TrainingError(
                f"memory ran out on {device} with a single slice of {' x '.join(map(str, images.shape[1:]))}; compute "
                "in half precision (train.precision), free memory, or use --device cpu"
            ) from error
    device.release()  # behind the handler, whose traceback keeps the failed attempt's tensors alive
    half = len(images) // 2
    return [*_forward(model, images[:half], device, decide), *_forward(model, images[half:], device, decide)]
