"""Ensembles: several networks that see the same input as one predictor, and predictions of different inputs as one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass

import torch

from gisegkit.engine.device import Device
from gisegkit.engine.predictor import Predictor, ScanProbabilities, SliceProbabilities
from gisegkit.engine.stored import mean


@dataclass(frozen=True)
class MeanOfNetworks:
    """The weighted mean probabilities of predictors that take the same images.

    Args:
        predictors: of the same classes in the same order, on the same device.
        weights: positive, one for each.
    """

    predictors: Sequence[Predictor]
    weights: Sequence[float]

    @property
    def device(self) -> Device:
        """Where they compute."""
        return self.predictors[0].device

    @property
    def exclusive(self) -> bool:
        """Whether a pixel has one class at most with each of them."""
        return all(predictor.exclusive for predictor in self.predictors)

    def evaluating(self) -> AbstractContextManager[None]:
        """Prepares all of them for a series of calls."""
        return self._evaluating()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        with ExitStack() as stack:
            for predictor in self.predictors:
                stack.enter_context(predictor.evaluating())
            yield

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """``[B, C, h, w]`` to mean probabilities ``[B, K, h, w]``; one after another, so two results are held."""
        if len(self.predictors) == 1:
            return self.predictors[0](images)
        whole = sum(self.weights)
        with torch.inference_mode():
            total = self.predictors[0](images) * (self.weights[0] / whole)
            for predictor, weight in zip(self.predictors[1:], self.weights[1:], strict=True):
                total += predictor(images) * (weight / whole)
            return total.clamp_(0, 1)  # the rounded shares may add up to a little more than 1


@dataclass(frozen=True)
class Voice:
    """Predicted scans that take part in a mean.

    Attributes:
        scans: of the same rows as the others'.
        weight: positive.
        order: for each class of the mean, its place among those of the scans; empty if it is the same.
    """

    scans: Generator[ScanProbabilities]
    weight: float
    order: tuple[int, ...] = ()


def mixed_scans(voices: Sequence[Voice]) -> Generator[ScanProbabilities]:
    """The weighted mean of predictions at native size, scan by scan; of each prediction one slice is held at a time."""
    with ExitStack() as stack:
        for voice in voices:
            stack.enter_context(closing(voice.scans))
        for scans in zip(*(voice.scans for voice in voices), strict=True):
            scan = ScanProbabilities(scans[0].name, scans[0].rows, _mixed(voices, scans))
            yield scan
            scan.skip()
            del scan, scans


def _mixed(voices: Sequence[Voice], scans: Sequence[ScanProbabilities]) -> Iterator[SliceProbabilities]:
    for items in zip(*scans, strict=True):
        if len({item.row for item in items}) > 1:
            raise RuntimeError(f"the members of the ensemble predict other slices of scan {scans[0].name}")
        found = [
            item.values[..., list(voice.order)] if voice.order else item.values
            for voice, item in zip(voices, items, strict=True)
        ]
        truth, order = items[0].truth, voices[0].order
        truth = truth[..., list(order)] if truth is not None and order else truth
        row = items[0].row
        del items
        yield SliceProbabilities(row, mean(found, [voice.weight for voice in voices]), truth)
