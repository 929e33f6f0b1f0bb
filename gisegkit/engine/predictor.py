"""Prediction ends in probabilities: scan by scan, in order, one slice after another at native size.

Nothing here decides what belongs to a class; ``engine/decision.py`` does. Of a scan only the slices that are being
worked on are held, unless somebody asks for the whole array. Beside a device that is not the CPU, slices are brought
back to their native size in threads of their own, while the device computes the batches after them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from gisegkit.data.inputs import Input
from gisegkit.data.loaders import EvaluationSet, evaluation_loader
from gisegkit.data.scan_arrays import new_array
from gisegkit.engine.device import Device
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.engine.step import is_out_of_memory
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import TrainingError
from gisegkit.types import AnyArray, FloatArray, MaskArray, Progress, silent

AHEAD = 2
"""Batches that a device beside the CPU is given before the first of them is needed."""


class Predictor(Protocol):
    """Images ``[B, C, h, w]`` on the device to probabilities ``[B, K, h, w]``, float32 in [0, 1], there as well.

    Attributes:
        device: where it computes.
        exclusive: whether a pixel has one class at most, so that the classes of a pixel sum to 1 with the background.
    """

    @property
    def device(self) -> Device: ...

    @property
    def exclusive(self) -> bool: ...

    def __call__(self, images: torch.Tensor) -> torch.Tensor: ...

    def evaluating(self) -> AbstractContextManager[None]:
        """Prepares for a series of calls; afterwards everything is as before."""
        ...


def probabilities_of(logits: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """Logits ``[B, K, h, w]`` to probabilities of the same shape in [0, 1], float32.

    Args:
        exclusive: whether the network was trained with softmax: a background of logit 0 beside the classes.
    """
    logits = logits.float()
    if not exclusive:
        return logits.sigmoid()
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1).softmax(1)[:, 1:]


class NetworkPredictor:
    """The probabilities of one network; a batch that does not fit into memory is computed in pieces.

    Args:
        model: ``[B, C, h, w]`` to logits ``[B, K, h, w]``, already on the device.
        device: where it is, and the precision that it computes in.
        exclusive: as of ``probabilities_of``.
        channels_last: the memory layout that the images are brought to.
    """

    def __init__(
        self, model: nn.Module, device: Device, *, exclusive: bool = False, channels_last: bool = False
    ) -> None:
        self.model = model
        self.device = device
        self.exclusive = exclusive
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The network in evaluation mode; afterwards in the mode that it was in."""
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The probabilities, always computed in evaluation mode.

        Raises:
            TrainingError: if not even a single slice fits into memory.
        """
        if self.model.training:
            with self.evaluating():
                return self(images)
        pieces = self._pieces(images.to(memory_format=self.memory_format))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _pieces(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The probabilities in one piece, or in as many as memory asks for."""
        try:
            with torch.inference_mode():
                with self.device.autocast():
                    logits = self.model(images)
                return [probabilities_of(logits, exclusive=self.exclusive)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(images) == 1:
                raise TrainingError(
                    f"memory ran out on {self.device} with a single slice of {' x '.join(map(str, images.shape[1:]))}; "
                    "compute in half precision (train.precision), free memory, or use --device cpu"
                ) from error
        self.device.release()  # after the handler, whose traceback keeps the failed attempt's tensors alive
        half = len(images) // 2
        return [*self._pieces(images[:half]), *self._pieces(images[half:])]


class SliceProbabilities(NamedTuple):
    """One slice at native size.

    Attributes:
        row: of the dataset's table.
        values: probabilities ``[H, W, K]``, float32 in [0, 1].
        truth: ``[H, W, K]`` uint8 with IGNORE, None if a slice of the scan is not labelled.
        sized: the probabilities at the network's size ``[h, w, K]``, None unless they were asked for.
    """

    row: int
    values: FloatArray
    truth: MaskArray | None
    sized: FloatArray | None = None


class ScanProbabilities:
    """One predicted scan; its slices come one after another, once, and before those of the next scan.

    Args:
        name: the scan's name.
        rows: rows of the dataset's table, in the order of the slices' positions.
        slices: one for each row; none of them is kept here.
    """

    def __init__(self, name: str, rows: Sequence[int], slices: Iterator[SliceProbabilities]) -> None:
        self.name = name
        self.rows = [int(row) for row in rows]
        self._slices = slices
        self._taken = False

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SliceProbabilities]:
        if self._taken:
            raise RuntimeError(f"the slices of scan {self.name} have gone by: they come once, before the next scan's")
        self._taken = True
        return self._slices

    def whole(self) -> tuple[FloatArray, MaskArray | None]:
        """All slices together, for steps that work on an entire scan.

        Returns:
            Probabilities ``[D, H, W, K]`` float32, in a file that the system maps into memory where they take more than
            ``scan_arrays.LIMIT``; and the truth ``[D, H, W, K]``, None if a slice is not labelled.
        """
        return stack(len(self), ((item.values, item.truth) for item in self))

    def skip(self) -> None:
        """Let what is left of the slices go by."""
        self._taken = True
        deque(self._slices, maxlen=0)


def stack(depth: int, slices: Iterator[tuple[AnyArray, MaskArray | None]]) -> tuple[Any, MaskArray | None]:
    """Slices ``[H, W, K]`` and their truth as arrays ``[D, H, W, K]``; each is copied into place, so held once.

    Returns:
        The slices, and the truth: None if a slice has none.
    """
    values: AnyArray | None = None
    truth: MaskArray | None = None
    for number in range(depth):
        value, mask = next(slices)  # enumerate would keep it
        if values is None:
            values = new_array((depth, *value.shape), value.dtype)
            truth = None if mask is None else new_array((depth, *mask.shape), mask.dtype)
        values[number] = value
        if mask is None or truth is None:
            truth = None
        else:
            truth[number] = mask
        del value, mask  # before the next slice is predicted
    return values, truth


class _Waiting(NamedTuple):
    """A slice whose batch may still be computed; ``values`` waits for it and gives ``[h, w, K]``."""

    row: int
    mask: MaskArray | None
    values: Callable[[], FloatArray]


def predict_scans(
    predictor: Predictor,
    source: Input,
    rows: Sequence[int] | AnyArray,
    *,
    batch_size: int,
    workers: int = 0,
    progress: Progress = silent,
    label: str = "predict",
    sized: bool = False,
    share: Share = WHOLE,
) -> Generator[ScanProbabilities]:
    """Yield the scans of ``rows``, each before its slices are computed: going through it drives the device.

    Args:
        predictor: images to probabilities at the network's size.
        source: reads and resizes slices, and knows the way back.
        rows: rows of the table, in any order.
        batch_size: slices on the device at once; a batch may hold slices of two scans.
        progress: shown per batch under ``label``.
        sized: whether slices bring their probabilities at the network's size, too.
        share: which of the scans to predict. All shares together give what one process does, to the last bit, because
            every slice is in the same batch as there.
    """
    device, names = predictor.device, source.dataset.table["scan"].to_numpy()
    ordered_rows = np.sort(np.asarray(rows, dtype=np.int64))  # the table is sorted by scan and position
    labelled = source.dataset.table["labelled"].to_numpy(dtype=bool)
    incomplete = set(names[ordered_rows[~labelled[ordered_rows]]])
    slices = EvaluationSet(source, ordered_rows)
    wanted = share.own(names[ordered_rows])
    loader = evaluation_loader(slices, batch_size=batch_size, workers=workers, pin=device.pin, wanted=wanted)
    ordered_rows = ordered_rows[wanted]
    kept = set(ordered_rows.tolist())
    waiting = (one for one in _computed(predictor, progress(loader, label, len(loader))) if one.row in kept)

    def invert(slice_: _Waiting) -> SliceProbabilities:
        truth = None if names[slice_.row] in incomplete else slice_.mask
        values = slice_.values()
        native = source.preprocess.invert(values, source.native(slice_.row))
        return SliceProbabilities(slice_.row, native, truth, values if sized else None)

    natives = threaded_map(invert, waiting, threads=device.threads, ahead=2 * device.threads)
    with predictor.evaluating(), closing(natives):
        for name, group in groupby(ordered_rows, key=lambda row: str(names[row])):
            own = list(group)
            scan = ScanProbabilities(name, own, islice(natives, len(own)))
            yield scan
            scan.skip()
            del scan  # else it would live until the next one is there


def _computed(predictor: Predictor, loader: Iterable[Any]) -> Generator[_Waiting]:
    """The slices of what the device computes; it is given the next batches before one of them is waited for."""
    device, launched = predictor.device, deque[list[_Waiting]]()
    for loaded in loader:
        probabilities = predictor(device.take(loaded.images)[0])
        values = device.to_cpu_async(probabilities.permute(0, 2, 3, 1))
        del probabilities
        launched.append(
            [_waiting(*item, values, at) for at, item in enumerate(zip(loaded.rows, loaded.masks, strict=True))]
        )
        del loaded, values
        if len(launched) > (AHEAD if device.threads else 0):
            yield from launched.popleft()
    while launched:
        yield from launched.popleft()


def _waiting(row: int, mask: MaskArray | None, values: Callable[[], torch.Tensor], at: int) -> _Waiting:
    return _Waiting(row, mask, lambda: values()[at].numpy())
