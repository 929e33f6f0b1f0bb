"""Predicts scan by scan at native size, in order, holding a few batches and at most two scans in memory.

Where no post-processing asks for the probabilities of a whole scan, each slice is decided at once, and of a scan only
its masks are held, a byte a value. Beside a device that is not the CPU, slices are brought back to their size and
decided in threads of their own, while the device computes the batches after them.
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
from gisegkit.engine.step import is_out_of_memory
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import TrainingError
from gisegkit.types import AnyArray, BoolArray, FloatArray, MaskArray, Progress, refuse_unknown_stage, silent


class Postprocess(Protocol):
    """What a ``[[postprocess]]`` component returns: ``[D, H, W, K]`` to the same; its stage is one of STAGES."""

    stage: str

    def __call__(self, scan: AnyArray) -> AnyArray: ...


@dataclass(frozen=True)
class Decision:
    """How logits become masks: probabilities, their post-processing, the threshold, post-processing of masks.

    Attributes:
        threshold: probability from which a pixel belongs to a class; with exclusive, of the class against background
            alone, so that 0.5 takes the most probable of classes and background.
        exclusive: whether the network was trained with softmax: a background of logit 0 beside the classes, and each
            pixel in one class at most.

    Raises:
        ComponentError: if a step's stage is none of STAGES: it would never be called.
    """

    threshold: float
    steps: tuple[Postprocess, ...] = ()
    exclusive: bool = False

    def __post_init__(self) -> None:
        for step in self.steps:
            refuse_unknown_stage(step, f"post-processing step {type(step).__module__}.{type(step).__qualname__}")

    @property
    def by_slice(self) -> bool:
        """Whether the threshold is applied slice by slice: no step wants the probabilities of a scan."""
        return not any(step.stage == "probabilities" for step in self.steps)

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
        masks = np.empty(probabilities.shape, dtype=np.bool_)
        for mask, values in zip(masks, probabilities, strict=True):
            mask[...] = self.cut(values)  # slice by slice, since what it computes on the way is larger than the scan
        return self.finish(masks)

    def cut(self, probabilities: FloatArray) -> BoolArray:
        """One slice, ``[H, W, K]`` float in [0, 1] to bool: the threshold alone."""
        if not self.exclusive:
            return np.asarray(probabilities >= self.threshold)
        probabilities = np.ascontiguousarray(probabilities)  # the order of a sum depends on it, and so its last bit
        background = 1 - probabilities.sum(-1, keepdims=True)
        first = probabilities.argmax(-1)[..., None] == np.arange(probabilities.shape[-1])
        return np.asarray(first & (probabilities >= self.threshold * (probabilities + background)))

    def finish(self, masks: BoolArray) -> BoolArray:
        """The masks of a scan, ``[D, H, W, K]`` bool, through the steps that work on masks."""
        for step in self.steps:
            if step.stage == "masks":
                masks = step(masks)
        return masks


@dataclass
class Scan:
    """One predicted scan; its slices in the order of their positions.

    Attributes:
        rows: rows of the dataset's table.
        prediction: ``[D, H, W, K]`` bool at native size.
        truth: ``[D, H, W, K]`` uint8 with IGNORE, None if the scan is not labelled.
    """

    name: str
    rows: list[int]
    prediction: BoolArray
    truth: MaskArray | None


@dataclass
class _Open:
    """A scan whose slices are still coming in; they are copied into place, so that nothing is held twice."""

    name: str
    rows: list[int]
    values: AnyArray
    truth: MaskArray | None

    @classmethod
    def like(cls, name: str, depth: int, values: AnyArray, mask: MaskArray | None) -> _Open:
        """An empty scan of so many slices as the one that is given."""
        truth = None if mask is None else np.empty((depth, *mask.shape), mask.dtype)
        return cls(name, [], np.empty((depth, *values.shape), values.dtype), truth)

    def add(self, row: int, values: AnyArray, mask: MaskArray | None) -> None:
        if mask is None or self.truth is None:
            self.truth = None
        else:
            self.truth[len(self.rows)] = mask
        self.values[len(self.rows)] = values
        self.rows.append(row)

    def close(self, decide: Decision) -> Scan:
        decided = decide.finish(self.values) if decide.by_slice else decide(self.values)
        return Scan(self.name, self.rows, decided, self.truth)


@dataclass(frozen=True)
class _Slices:
    """A predicted batch: ``values`` waits for the device and gives the probabilities, ``[B, h, w, K]``."""

    rows: list[int]
    masks: list[MaskArray | None]
    values: Callable[[], torch.Tensor]


_Native = list[tuple[int, AnyArray, MaskArray | None]]
"""Row, probabilities or (where each slice is decided at once) masks ``[H, W, K]``, and truth, at native size."""


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
        decide: probabilities to masks; its steps are called for one scan at a time, in order.
        batch_size: slices on the device at once; a batch may hold slices of two scans.
        progress: shown per batch under ``label``.
    """
    table = source.dataset.table
    ordered_rows = np.sort(np.asarray(rows, dtype=np.int64))  # the table is sorted by scan and position
    slices = EvaluationSet(source, ordered_rows)
    loader = evaluation_loader(slices, batch_size=batch_size, workers=workers, pin=device.pin)

    def invert(batch: _Slices) -> _Native:
        values = batch.values().numpy()
        return [
            (row, settle(source.geometry(row).invert(value)), mask)
            for row, value, mask in zip(batch.rows, values, batch.masks, strict=True)
        ]

    def settle(native: FloatArray) -> AnyArray:
        return decide.cut(native) if decide.by_slice else native

    was_training = model.training
    model.eval()
    batches = _predicted(model, progress(loader, label, len(loader)), device, decide, channels_last=channels_last)
    natives = threaded_map(invert, batches, threads=device.threads, ahead=2)
    names = table["scan"].to_numpy()
    whole = _whole(natives, names, Counter(map(str, names[ordered_rows])))
    scans = threaded_map(lambda scan: scan.close(decide), whole, threads=min(1, device.threads), ahead=1)
    try:
        with closing(natives), closing(scans):
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
        yield _Slices(loaded.rows, loaded.masks, device.to_cpu_async(probabilities.permute(0, 2, 3, 1)))


def _whole(batches: Iterable[_Native], names: AnyArray, depths: Mapping[str, int]) -> Generator[_Open]:
    """The slices of each scan together; a scan is forgotten here once it is handed over."""
    current: list[_Open] = []  # one at most
    for batch in batches:
        for row, values, mask in batch:
            if not current:
                name = str(names[row])
                current.append(_Open.like(name, depths[name], values, mask))
            current[0].add(row, values, mask)
            if len(current[0].rows) == len(current[0].values):
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
