"""The training slices kept in the device's memory: an epoch moves nothing there but the numbers of its slices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gisegkit.data.inputs import Input
from gisegkit.data.loaders import EpochSampler, Loaded
from gisegkit.engine.device import Device
from gisegkit.engine.step import is_out_of_memory
from gisegkit.errors import DataError, TrainingError
from gisegkit.machine import show_size
from gisegkit.types import IGNORE, AnyArray, Progress, silent

OFFSET = 1 << 15
"""What is taken from pixels of type uint16 to keep them as int16: few operations of torch know uint16."""

SHIFTS = np.arange(8, dtype=np.uint8)[:, None]
"""From a byte to its bits."""

AS_THEY_ARE = {np.dtype(np.uint8): torch.uint8, np.dtype(np.int16): torch.int16, np.dtype(np.uint16): torch.int16}
"""The types of pixels that are kept; others are kept as float32, which is what the network gets."""


class Resident:
    """What is to be kept of slices on the device, and how much that is; ``load`` puts it there.

    An image is kept once, however many stacks it is part of, in the type in which it is prepared; what ``maximum`` and
    ``dtype`` say it is divided by when a batch is gathered. Other normalizations are applied before, and the image is
    kept as float32; one over a stack makes an image differ from one stack to the next, so that it is kept for each. Of
    a mask two bits are kept for each class and pixel: whether it is 1, and whether it is ignored.

    Args:
        source: what reads the slices and knows how the network sees them.
        rows: the slices to train on, of the dataset's table.
    """

    def __init__(self, source: Input, rows: Sequence[int] | AnyArray) -> None:
        self.source = source
        self.rows = np.asarray(rows, dtype=np.int64)
        reader = source.reader
        self._by_stack = source.preprocess.differs_by_stack
        self._places: dict[tuple[int, int], int] = {}  # of the images; at place 0 is a black one
        self._stacks = np.zeros((len(self.rows), len(reader.offsets)), dtype=np.int64)
        for number, row in enumerate(self.rows.tolist()):
            for step, near in enumerate(reader.neighbors(row)):
                if near is not None:
                    self._stacks[number, step] = self._places.setdefault(self._key(near, row), len(self._places) + 1)
        first = int(self.rows[0])
        plane = source.preprocess.plane(*reader.images(first)[first])
        self._type = _kept_type(plane)
        self._size = (plane.shape[0], plane.shape[1])
        self._images = (1 + len(self._places), plane.shape[2], *self._size)
        self._masks = (len(self.rows), 2, len(source.dataset.classes), -(-math.prod(self._size) // 8))

    @property
    def slices(self) -> int:
        """The slices whose images are kept: those to train on, and their neighbors in a stack."""
        return len({near for near, _ in self._places})

    @property
    def size(self) -> int:
        """Bytes on the device."""
        images = math.prod(self._images) * self._type.itemsize
        return images + math.prod(self._masks) + self._stacks.size * (8 + 4)  # a place and a divisor

    def __str__(self) -> str:
        return f"on the device: {self.slices} slices, {show_size(self.size)}"

    def load(self, device: Device, sampler: EpochSampler, *, progress: Progress = silent) -> ResidentLoader:
        """Read everything once, and put it on the device.

        Args:
            sampler: of these rows, or of some of them.

        Raises:
            DataError: if a slice cannot be read, or slices have pixels of different types.
            TrainingError: if the device's memory runs out.
        """
        try:
            return self._loaded(device, sampler, progress)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f'memory ran out on {device} while input.store = "device" put {self.slices} slices there, which take '
                f"{show_size(self.size)}; --set input.store=resized leaves them in files"
            ) from error

    def _loaded(self, device: Device, sampler: EpochSampler, progress: Progress) -> ResidentLoader:
        reader, preprocess, there = self.source.reader, self.source.preprocess, device.device
        images = torch.zeros(self._images, dtype=AS_THEY_ARE.get(self._type, torch.float32), device=there)
        images[0] -= self._offset
        masks = torch.empty(self._masks, dtype=torch.uint8, device=there)
        divisors = np.ones(self._stacks.shape, dtype=np.float32)
        filled: set[int] = set()
        for number, row in enumerate(progress(self.rows.tolist(), "slices to the device", len(self.rows))):
            for near, (image, scale) in reader.images(row).items():
                place = self._places[self._key(near, row)]
                divisors[number, self._stacks[number] == place] = preprocess.divisor(scale)
                if place not in filled:
                    filled.add(place)
                    images[place] = self._kept(near, preprocess.plane(image, scale))
            masks[number] = _packed(self.source.planes(row))
        numbers = np.full(len(self.source.dataset.table), -1, dtype=np.int64)
        numbers[self.rows] = np.arange(len(self.rows))
        return ResidentLoader(
            sampler,
            device,
            self._size,
            numbers,
            images,
            self._offset,
            torch.from_numpy(self._stacks).to(there),
            torch.from_numpy(divisors).to(there),
            masks,
            torch.from_numpy(SHIFTS).to(there),
        )

    @property
    def _offset(self) -> int:
        return OFFSET if self._type == np.uint16 else 0

    def _key(self, near: int, row: int) -> tuple[int, int]:
        """What an image that is kept depends on: its row, and its stack's where it differs between stacks."""
        return near, row if self._by_stack else -1

    def _kept(self, row: int, plane: AnyArray) -> torch.Tensor:
        """``[h, w, C]`` to ``[C, h, w]`` in the type in which images are kept."""
        if _kept_type(plane) != self._type:
            names = self.source.dataset.table["id"]
            raise DataError(
                f"image {names.iat[row]} is {plane.dtype}, and {names.iat[int(self.rows[0])]} is {self._type}: "
                'input.store = "device" keeps slices of one type; use --set input.store=resized'
            )
        if self._offset:
            return torch.from_numpy(np.subtract(plane.transpose(2, 0, 1), OFFSET, dtype=np.int32).astype(np.int16))
        return torch.from_numpy(np.array(plane.transpose(2, 0, 1), dtype=self._type))


@dataclass(frozen=True, eq=False)
class ResidentLoader:
    """Yields what ``training_loader`` does for the same sampler, on the device and gathered there.

    Attributes:
        size: height and width, pixels.
        numbers: a row of the dataset's table to its number n among those to train on.
        images: ``[P, C, H, W]`` of every place, less ``offset``.
        stacks: ``[N, D]``, the places of a stack's images.
        divisors: ``[N, D]``, what they are divided by.
        masks: ``[N, 2, K, bytes]``, bits: where a class is, and where pixels are ignored.
        shifts: ``[8, 1]``, from a byte to its bits.
    """

    sampler: EpochSampler
    device: Device
    size: tuple[int, int]
    numbers: AnyArray
    images: torch.Tensor
    offset: int
    stacks: torch.Tensor
    divisors: torch.Tensor
    masks: torch.Tensor
    shifts: torch.Tensor

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Loaded]:
        for keys in self.sampler:
            yield self.gather([row for _, row in keys])

    def gather(self, rows: Sequence[int]) -> Loaded:
        """The batch of these rows; nothing but their numbers is copied to the device, and nothing waits for it."""
        numbers = torch.from_numpy(self.numbers[rows])
        (numbers,) = self.device.take(numbers.pin_memory() if self.device.pin else numbers)
        stacks = self.stacks[numbers]  # [B, D]
        images = self.images.index_select(0, stacks.flatten()).float()  # [B * D, C, H, W], a copy
        if self.offset:
            images += self.offset
        images = images.view(*stacks.shape, *images.shape[1:])
        images /= self.divisors[numbers][:, :, None, None, None]  # tensors divide as NumPy does, to the last bit
        bits = self.masks[numbers].unsqueeze(-2) >> self.shifts  # [B, 2, K, 8, bytes]
        bits &= 1
        planes = bits.flatten(-2)[..., : math.prod(self.size)].reshape(*bits.shape[:3], *self.size)
        masks = planes[:, 1] * IGNORE
        masks |= planes[:, 0]
        return Loaded(images.flatten(1, 2), masks, torch.tensor(rows))


def _kept_type(plane: AnyArray) -> np.dtype[np.generic]:
    return plane.dtype if plane.dtype in AS_THEY_ARE else np.dtype(np.float32)


def _packed(planes: AnyArray) -> torch.Tensor:
    """``[K, h, w]`` to bits, ``[2, K, bytes]``: where a class is, and where pixels are ignored.

    A byte's bits are of pixels an eighth of the slice apart, so that they are unpacked into eight whole rows.
    """
    flat = planes.reshape(len(planes), -1)
    eighths = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 8))).reshape(len(planes), 8, -1)
    bits = [(eighths == value).view(np.uint8) << SHIFTS for value in (1, IGNORE)]
    return torch.from_numpy(np.stack([np.bitwise_or.reduce(each, axis=1) for each in bits]))
