"""Probabilities as compressed arrays, one file a scan."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Literal

import numpy as np

from gisegkit.data.output import check_name, file_name
from gisegkit.errors import count

if TYPE_CHECKING:
    from gisegkit.data.output import Output, PredictionFacts, SliceFacts
    from gisegkit.types import AnyArray, BoolArray, FloatArray

MADE = (1980, 1, 1, 0, 0, 0)
"""The date in every archive, so that equal probabilities make equal files."""


class Probabilities:
    """Compressed arrays at native size, before the threshold, one file FOLDER/SCAN.npz a scan.

    ``numpy.load(file)`` gives ``probabilities`` [D, H, W, K], ``ids`` and ``positions`` [D], and ``classes`` [K]. The
    slices are written one after another, so that no scan is held in memory.

    Args:
        dtype: float32 is what the network computed; float16 takes half the space and is rounded, by up to 0.00025;
            uint8 is round(255 p), and smallest.
        folder: where the files go, in the folder of the predictions.
    """

    wants: Literal["masks", "probabilities"] = "probabilities"

    def __init__(
        self, *, dtype: Literal["float32", "float16", "uint8"] = "float16", folder: str = "probabilities"
    ) -> None:
        self.dtype = np.dtype(dtype)
        check_name(folder)
        self.folder = folder

    def begin(self, facts: PredictionFacts, out: Output) -> None:
        """Take the classes.

        Args:
            facts: the classes.
            out: makes the files.
        """
        self.out, self.classes = out, facts.classes
        self.scans = 0
        self.read: list[tuple[str, int]] = []
        self.stack = out.stack()

    def write(self, facts: SliceFacts, masks: BoolArray, probabilities: FloatArray | None) -> None:
        """Add a slice to the file of its scan.

        Args:
            facts: its scan, and where in the scan it is.
            masks: not used.
            probabilities: ``[H, W, K]`` float32.
        """
        assert probabilities is not None  # this writer wants them
        if facts.index == 0:
            self._open(facts)
        self.array.write(np.ascontiguousarray(self._stored(probabilities)).tobytes())
        self.read.append((facts.id, facts.position))
        if facts.index == facts.depth - 1:
            self._close()

    def _stored(self, probabilities: FloatArray) -> AnyArray:
        if self.dtype == np.uint8:
            scaled: AnyArray = np.rint(probabilities * 255).astype(np.uint8)
            return scaled
        return probabilities.astype(self.dtype)

    def _open(self, facts: SliceFacts) -> None:
        path = self.stack.enter_context(self.out.path(f"{self.folder}/{file_name(facts.scan)}.npz"))
        self.archive = self.stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED))
        self.array = self.stack.enter_context(self.archive.open(_entry("probabilities"), "w", force_zip64=True))
        shape = (facts.depth, facts.height, facts.width, len(self.classes))
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.array, header)
        self.read = []

    def _close(self) -> None:
        self.array.close()
        rest = {
            "ids": np.array([name for name, _ in self.read]),
            "positions": np.array([position for _, position in self.read], dtype=np.int64),
            "classes": np.array(self.classes),
        }
        for name, array in rest.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            self.archive.writestr(_entry(name), content.getvalue())
        self.stack.close()
        self.scans += 1

    def finish(self) -> str:
        """Say what was written."""
        return f"{self.folder}/, {self.dtype} of {count(self.scans, 'scan')}"


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=MADE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
