"""One file of the prepared store, to be mapped into memory: a few slices, images at full depth, masks as bit planes.

A shard is two files: ``NAME-CHECK.bin`` holds the arrays, one slice after another, and ``NAME.jsonl`` says, line by
line, how long the other file must be, what it was made of, the doctor's facts of all slices, and where each slice is.
The second is written last and whole, so that a shard which was interrupted does not exist. A slice's line is parsed
when the slice is read: parsing all of a large set would take longer than everything else at start-up, and ten times the
memory of the text.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from gisegkit.data.doctor.facts import SliceFacts
from gisegkit.data.planes import merge, split
from gisegkit.data.reading import are_finite
from gisegkit.types import IGNORE

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, MaskArray

ALIGN = 64
"""Bytes to which every array's start is rounded up."""


@dataclass(frozen=True)
class Content:
    """What is kept of a slice.

    Attributes:
        image: ``[h, w, C]``, any type.
        limits: the smallest and the largest value of the image as the file has it, before any resizing, and the
            largest that the file's type can hold.
        masks: ``[h, w, K]`` uint8 by name, with IGNORE; empty if the slice is not labelled.
        facts: the doctor's, of the slice at native size.
    """

    image: AnyArray
    limits: tuple[float, float, float]
    masks: dict[str, MaskArray]
    facts: SliceFacts

    def planes(self, name: str) -> MaskArray | None:
        """``[K, h, w]`` uint8 with IGNORE; None if the slice is not labelled."""
        mask = self.masks.get(name)
        return None if mask is None else np.stack(split(mask))


class Shard:
    """A shard that is there, mapped on first use; every slice is checked against its checksum when it is first read.

    Args:
        folder: where its files lie.
        index: what ``NAME.jsonl`` holds.

    Raises:
        ValueError, KeyError: if that is not what was written.
    """

    def __init__(self, folder: Path, index: bytes) -> None:
        head, *rest = index.splitlines()
        facts = json.loads(head)
        if _check(rest) != facts["check"]:
            raise ValueError(f"{facts['file']}: the index is damaged")
        self._sources, self._facts, *self._entries = rest
        self.path = folder / facts["file"]
        self.size = int(facts["size"])
        self.not_finite: list[int] = list(facts["not_finite"])  # places of images whose values no network can use
        self.on_disk = self.size + len(index)  # bytes of both files
        self._map: AnyArray | None = None
        self._checked: set[int] = set()
        self._parsed: tuple[int, dict[str, Any]] = (-1, {})  # the last line; a slice's image and mask come together

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map": None}  # a loader's process maps the file itself

    @property
    def sources(self) -> list[list[Any]]:
        """What it is made of, as ``write_shard`` was told."""
        found: list[list[Any]] = json.loads(self._sources)
        return found

    @property
    def facts(self) -> list[SliceFacts]:
        """The doctor's facts of its slices, in their order."""
        return [SliceFacts(*values) for values in json.loads(self._facts)]

    def release(self) -> None:
        """Let go of the mapped file until it is read again; what was read of it counts as this process's memory."""
        self._map = None

    def image(self, place: int) -> AnyArray:
        """``[h, w, C]``, read-only, of the slice at a place in the shard.

        Raises:
            DamagedError: if the file is not what was written.
        """
        offset, shape, dtype = self._entry(place)["image"]
        return self._array(offset, shape, np.dtype(dtype))

    def limits(self, place: int) -> tuple[float, float, float]:
        """Smallest and largest value of the image as its file has it, and the largest that its type can hold."""
        low, high, top = self._parse(place)["limits"]
        return low, high, top

    def planes(self, place: int, name: str) -> MaskArray | None:
        """``[K, h, w]`` uint8 with IGNORE; None if the slice is not labelled."""
        found = self._entry(place)["masks"].get(name)
        if found is None:
            return None
        offset, (height, width, classes), ignored = found
        packed = self._array(offset, (1 + ignored, classes, -(-height * width // 8)), np.dtype(np.uint8))
        planes = np.unpackbits(packed, axis=2, count=height * width).reshape(1 + ignored, classes, height, width)
        mask: MaskArray = planes[0]
        if ignored:
            mask[planes[1] == 1] = IGNORE
        return mask

    def mask(self, place: int, name: str) -> MaskArray | None:
        """``[h, w, K]`` uint8 with IGNORE; None if the slice is not labelled."""
        planes = self.planes(place, name)
        if planes is None:
            return None
        return merge(planes)

    def _parse(self, place: int) -> dict[str, Any]:
        number, entry = self._parsed
        if number != place:
            entry = json.loads(self._entries[place])
            self._parsed = place, entry
        return entry

    def _entry(self, place: int) -> dict[str, Any]:
        """A slice's line, its arrays checked."""
        entry = self._parse(place)
        if place not in self._checked:
            start, stop = entry["bytes"]
            if zlib.crc32(self._bytes().data[start:stop]) != entry["check"]:
                raise DamagedError(str(self.path))
            self._checked.add(place)
        return entry

    def _bytes(self) -> AnyArray:
        mapped = self._map
        if mapped is None:
            try:
                mapped = np.memmap(self.path, dtype=np.uint8, mode="r").view(np.ndarray)
            except (OSError, ValueError) as error:
                raise DamagedError(str(self.path)) from error
            if len(mapped) != self.size:
                raise DamagedError(str(self.path))
            self._map = mapped
        return mapped

    def _array(self, offset: int, shape: Sequence[int], dtype: np.dtype[Any]) -> AnyArray:
        array: AnyArray = np.ndarray(shape, dtype, buffer=self._bytes(), offset=offset)
        return array


class DamagedError(Exception):
    """A shard's file is missing or not what was written; never seen by a user, since the shard is made again."""


def read_shard(folder: Path, name: str) -> Shard | None:
    """The shard of that name; None if it is not there whole."""
    try:
        shard = Shard(folder, (folder / f"{name}.jsonl").read_bytes())
        return shard if shard.path.stat().st_size == shard.size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_shard(folder: Path, name: str, contents: Iterable[Content], sources: Collection[list[Any]]) -> Shard:
    """Write a shard, whole or not at all; one of the same name is replaced.

    Args:
        folder: is made where it is not there.
        contents: the slices, taken one at a time.
        sources: what it is made of, kept for ``Shard.sources``; may be filled while ``contents`` is consumed.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = _part(folder, name)
    try:
        with part.open("wb") as file:
            entries: list[bytes] = []
            spoilt: list[int] = []
            seen: list[SliceFacts] = []
            for place, (entry, facts) in enumerate(_write_all(file, contents)):
                entries.append(_line(entry))
                seen.append(facts)
                spoilt += [] if are_finite(*entry["limits"][:2]) else [place]
            size = file.tell()
        head = {"file": f"{name}-{_check(entries):08x}.bin", "size": size, "not_finite": spoilt}
        index = _index(head, sources, [_line(seen), *entries])
        shard = Shard(folder, index)
        os.replace(part, shard.path)
        part.write_bytes(index)
        os.replace(part, folder / f"{name}.jsonl")
    finally:
        part.unlink(missing_ok=True)
    for other in folder.glob(f"{name}-*.bin"):
        if other != shard.path:
            with contextlib.suppress(OSError):  # another system may not remove what is mapped
                other.unlink()
    return shard


def rewrite_sources(folder: Path, name: str, sources: Collection[list[Any]]) -> None:
    """Note that the sources were touched without being changed, so that they need not be read again.

    Raises:
        OSError: if it cannot be written.
    """
    path = folder / f"{name}.jsonl"
    head, _, *others = path.read_bytes().splitlines()
    part = _part(folder, name)
    try:
        part.write_bytes(_index(json.loads(head), sources, others))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _part(folder: Path, name: str) -> Path:
    """A file that is not finished, of this thread alone."""
    return folder / f".{name}-{os.getpid()}-{threading.get_ident()}.part"


def _index(head: dict[str, Any], sources: Collection[list[Any]], others: list[bytes]) -> bytes:
    rest = [_line(list(sources)), *others]
    return b"\n".join([_line(head | {"check": _check(rest)}), *rest])


def _line(value: Any) -> bytes:
    """JSON in one line of ASCII."""
    return json.dumps(value, separators=(",", ":")).encode()


def _check(lines: Sequence[bytes]) -> int:
    return zlib.crc32(b"\n".join(lines))


def _write_all(file: BinaryIO, contents: Iterable[Content]) -> Iterator[tuple[dict[str, Any], SliceFacts]]:
    for content in contents:
        start, check = file.tell(), 0

        def put(array: AnyArray) -> int:
            nonlocal check
            offset = file.tell()
            data = array.tobytes() + bytes(-array.nbytes % ALIGN)
            check = zlib.crc32(data, check)
            file.write(data)
            return offset

        image = np.ascontiguousarray(content.image)
        entry: dict[str, Any] = {"image": [put(image), list(image.shape), image.dtype.str]}
        entry["limits"] = list(content.limits)
        entry["masks"] = {}
        for name, mask in content.masks.items():
            ignored = bool((mask == IGNORE).any())
            entry["masks"][name] = [put(_packed(mask, ignored=ignored)), list(mask.shape), ignored]
        yield entry | {"bytes": [start, file.tell()], "check": check}, content.facts


def _packed(mask: MaskArray, *, ignored: bool) -> AnyArray:
    """``[1 or 2, K, bytes]``: a bit for each pixel of a class, and another where pixels are ignored."""
    planes = split(mask)
    values = (1, IGNORE) if ignored else (1,)
    return np.stack([[np.packbits(plane == value) for plane in planes] for value in values])
