"""Prediction of images that are larger than what the network was trained on: overlapping windows, blended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from gisegkit.engine.device import Device
from gisegkit.engine.predictor import Predictor
from gisegkit.engine.step import is_out_of_memory
from gisegkit.errors import TrainingError

SIGMA = 1 / 8
"""Standard deviation of a window's weights, as a share of its side (Isensee et al. 2021, nnU-Net, supplement 6)."""

Place = tuple[slice, slice]


@dataclass(frozen=True)
class WindowPredictor:
    """A predictor of images of any size, made of one of windows.

    Windows cover the image evenly, each overlapping the next by ``overlap`` of its side or more, the outermost ones
    flush with the image's edges. A pixel's probability is the mean over the windows that hold it, weighted by a
    Gaussian around each window's center: a network knows least about what is at its window's edge. An image that is
    smaller than a window is padded with zeros for it, as training pads.

    Args:
        predictor: of windows.
        size: rows and columns of a window.
        overlap: share of a window's side, from 0 to below 1.
        batch_size: windows at once.
    """

    predictor: Predictor
    size: tuple[int, int]
    overlap: float
    batch_size: int

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self.predictor.device

    @property
    def exclusive(self) -> bool:
        """Whether a pixel has one class at most; a mean of windows keeps that."""
        return self.predictor.exclusive

    def evaluating(self) -> AbstractContextManager[None]:
        """Prepares for a series of calls."""
        return self.predictor.evaluating()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """``[B, C, H, W]`` to probabilities ``[B, K, H, W]``, float32.

        Raises:
            TrainingError: if memory runs out.
        """
        try:
            return self._blended(images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            height, width = images.shape[2:]
            raise TrainingError(
                f"memory ran out on {self.device} while a slice of {height} x {width} pixels was predicted by windows: "
                "the probabilities of all its classes are there at once. Make input.scale smaller, free memory, or use "
                "--device cpu"
            ) from error

    def _blended(self, images: torch.Tensor) -> torch.Tensor:
        padded, inside = pad(images, self.size)
        weights = gaussian(self.size, device=images.device)
        pieces = [
            (number, place)
            for number in range(len(images))
            for place in windows((padded.shape[2], padded.shape[3]), self.size, self.overlap)
        ]
        total, share = torch.empty(0), torch.zeros(padded.shape[2:], device=images.device)
        for start in range(0, len(pieces), self.batch_size):
            batch = pieces[start : start + self.batch_size]
            probabilities = self.predictor(torch.stack([padded[(number, ..., *place)] for number, place in batch]))
            if not start:
                total = torch.zeros(len(images), probabilities.shape[1], *padded.shape[2:], device=images.device)
            for (number, place), values in zip(batch, probabilities.float(), strict=True):
                total[(number, ..., *place)] += weights * values
                if number == 0:
                    share[place] += weights
        return (total / share)[(..., *inside)]


def windows(image: tuple[int, int], size: tuple[int, int], overlap: float) -> Iterator[Place]:
    """The places of windows that cover an image, row by row."""
    starts = [_starts(whole, part, overlap) for whole, part in zip(image, size, strict=True)]
    for top, left in itertools.product(*starts):
        yield slice(top, top + size[0]), slice(left, left + size[1])


def _starts(whole: int, part: int, overlap: float) -> list[int]:
    """First pixels of the fewest windows that overlap enough, as evenly apart as whole pixels allow."""
    step = max(1, math.floor(part * (1 - overlap)))
    count = math.ceil((whole - part) / step) + 1
    return [round(number * (whole - part) / max(1, count - 1)) for number in range(count)]


def gaussian(size: tuple[int, int], *, device: torch.device | None = None) -> torch.Tensor:
    """The weights of a window's pixels, ``[h, w]`` float32, 1 in its middle."""
    sides = []
    for side in size:
        distance = (torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2) / (side * SIGMA)
        sides.append(torch.exp(-0.5 * distance.square()))
    return sides[0][:, None] * sides[1][None, :]


def pad(images: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, Place]:
    """Images ``[B, C, H, W]`` with zeros around them where they are smaller than the size, and where they are in it."""
    height, width = images.shape[2], images.shape[3]
    rows, columns = max(height, size[0]), max(width, size[1])
    top, left = (rows - height) // 2, (columns - width) // 2
    inside = slice(top, top + height), slice(left, left + width)
    if (rows, columns) == (height, width):
        return images, inside
    canvas = images.new_zeros(*images.shape[:2], rows, columns)
    canvas[(..., *inside)] = images
    return canvas, inside
