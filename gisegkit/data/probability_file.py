"""Probabilities of slices kept as bytes in one compressed file, written and read scan by scan.

The file is an ``.npz`` as numpy reads it: an array ``[D, K, h, w]`` uint8 for each scan, named like the scan, and
``index.json``. A byte q is the probability q / 255, so that what is read differs from what was predicted by at
most 1 / 510. Only one slice is held at a time, however many scans there are.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from gisegkit.data.atomic_files import first_line
from gisegkit.errors import RunError

if TYPE_CHECKING:
    from gisegkit.types import AnyArray, FloatArray, MaskArray

FORMAT = 1
"""The version of the file."""

INDEX = "index.json"

LEVEL = 1
"""Of zlib's compression: 6 takes five times as long for four fifths of the size."""

LEVELS = 255
"""The byte of probability 1."""


def to_bytes(probabilities: FloatArray) -> MaskArray:
    """Probabilities in [0, 1] as the nearest of 256 levels, uint8."""
    rounded: MaskArray = np.rint(probabilities * np.float32(LEVELS)).astype(np.uint8)
    return rounded


def from_bytes(values: MaskArray) -> FloatArray:
    """The probabilities, float32, of the bytes."""
    probabilities: FloatArray = values.astype(np.float32) / np.float32(LEVELS)
    return probabilities


class ProbabilityWriter:
    """Writes probabilities slice by slice, the slices of a scan one after another; a context manager.

    Args:
        path: of the file, which is overwritten.
        classes: names of the K classes, in the order of the last axis.
        exclusive: whether a pixel has one class at most.
    """

    def __init__(self, path: Path, *, classes: Sequence[str], exclusive: bool) -> None:
        self.classes = tuple(classes)
        self.exclusive = exclusive
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL)
        self._scans: dict[str, list[str]] = {}
        self._open: IO[bytes] | None = None
        self._left = 0

    def begin(self, scan: str, *, depth: int, size: tuple[int, int]) -> None:
        """The next scan.

        Args:
            depth: how many slices it has.
            size: rows and columns of each.
        """
        self._close_scan()
        shape = (depth, len(self.classes), *size)
        self._open = self._zip.open(f"{scan}.npy", "w", force_zip64=True)
        npy.write_array_header_1_0(self._open, {"descr": "|u1", "fortran_order": False, "shape": shape})
        self._scans[scan] = []
        self._left = depth

    def write(self, slice_id: str, probabilities: FloatArray) -> None:
        """The next slice of the scan, ``[h, w, K]`` float in [0, 1]."""
        self.write_bytes(slice_id, to_bytes(probabilities))

    def write_bytes(self, slice_id: str, values: MaskArray) -> None:
        """The next slice of the scan, ``[h, w, K]`` uint8 as of ``to_bytes``."""
        if self._open is None or not self._left:
            raise RuntimeError(f"slice {slice_id} is one more than its scan has")
        scan = list(self._scans)[-1]
        self._scans[scan].append(slice_id)
        self._open.write(values.transpose(2, 0, 1).tobytes())
        self._left -= 1

    def _close_scan(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._left:
            raise RuntimeError(f"scan {list(self._scans)[-1]} has {self._left} slices less than announced")

    def __enter__(self) -> ProbabilityWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._left = 0
        self._close_scan()
        content = {"format": FORMAT, "classes": self.classes, "exclusive": self.exclusive, "scans": self._scans}
        self._zip.writestr(INDEX, json.dumps(content, ensure_ascii=False))
        self._zip.close()


class ProbabilityReader:
    """Reads what a ProbabilityWriter wrote, slice by slice; a context manager.

    Attributes:
        classes: names of the K classes, in the order of the last axis.
        exclusive: whether a pixel has one class at most.
        scans: ids of the slices of each scan, in the order in which they come.

    Raises:
        RunError: if the file is missing, damaged, or of another format; names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            index: dict[str, Any] = json.loads(self._zip.read(INDEX))
            found = index["format"]
            if found != FORMAT:
                raise RunError(f"{path} is of format {found}, and this gisegkit reads format {FORMAT}")
            self.classes = tuple(index["classes"])
            self.exclusive = bool(index["exclusive"])
            self.scans = {name: tuple(ids) for name, ids in index["scans"].items()}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise self._damaged(error) from error

    def slices(self, scan: str) -> Iterator[tuple[str, MaskArray]]:
        """(id, bytes ``[h, w, K]``) of each slice of a scan, in order.

        Raises:
            RunError: if the file is damaged.
        """
        try:
            with self._zip.open(f"{scan}.npy") as file:
                npy.read_magic(file)
                depth, classes, height, width = npy.read_array_header_1_0(file)[0]
                for slice_id in self.scans[scan]:
                    planes: AnyArray = np.frombuffer(file.read(classes * height * width), np.uint8)
                    yield slice_id, planes.reshape(classes, height, width).transpose(1, 2, 0)
                if depth != len(self.scans[scan]):
                    raise ValueError(f"scan {scan} has {depth} slices and {len(self.scans[scan])} ids")
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> RunError:
        return RunError(
            f"{self.path} cannot be read ({first_line(error)}); remove it, and giseg evaluate predicts it anew"
        )

    def __enter__(self) -> ProbabilityReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
