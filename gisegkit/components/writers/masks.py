"""Masks as PNG files, which every viewer opens and the dataset ``folder`` reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from gisegkit.data.output import check_name, file_name
from gisegkit.data.planes import split
from gisegkit.errors import DataError, RunError, count

if TYPE_CHECKING:
    from gisegkit.data.output import Output, PredictionFacts, SliceFacts
    from gisegkit.types import AnyArray, BoolArray, FloatArray

COLUMNS = ("id", "file", "scan", "position", "case", "height", "width")


class Masks:
    """PNG files at native size, which the dataset ``folder`` reads.

    A file is called as its slice's id. Characters that some file system refuses are written as %XX. slices.csv lists
    id, file, scan, position and case of each slice; dataset.toml holds the keys of [dataset] that describe the files.

    Args:
        layout: one file per class, FOLDER/CLASS/ID.png with 255 where the class is; or one label file per slice,
            FOLDER/ID.png with 1, 2, 3 ... in the order of the classes, which is refused where classes overlap.
        folder: where the files go, in the folder of the predictions.
    """

    wants: Literal["masks", "probabilities"] = "masks"

    def __init__(self, *, layout: Literal["classes", "labels"] = "classes", folder: str = "masks") -> None:
        self.layout = layout
        check_name(folder)
        self.folder = folder

    def begin(self, facts: PredictionFacts, out: Output) -> None:
        """Describe the files.

        Args:
            facts: the classes.
            out: makes the files.

        Raises:
            DataError: if label files cannot hold so many classes.
        """
        self.out, self.classes = out, facts.classes
        self.rows: list[tuple[object, ...]] = []
        self.folders = {label: file_name(label) for label in facts.classes}
        if self.layout == "labels" and len(facts.classes) > np.iinfo(np.uint16).max:
            raise DataError(f'{len(facts.classes)} classes do not fit into label files; use layout = "classes"')
        self.type = np.uint8 if len(facts.classes) <= np.iinfo(np.uint8).max else np.uint16
        with out.path(f"{self.folder}/dataset.toml") as path:
            path.write_text(self._described(), encoding="utf-8")

    def _described(self) -> str:
        """The keys of ``[dataset]`` that say what the files mean."""
        if self.layout == "classes":
            meaning = f"classes = {json.dumps(list(self.folders.values()), ensure_ascii=False)}"
        else:
            labels = (f"{json.dumps(label, ensure_ascii=False)} = {k}" for k, label in enumerate(self.classes, 1))
            meaning = f"labels = {{{', '.join(labels)}}}"
        return f'[dataset]\nname = "folder"\n{meaning}\n'

    def write(self, facts: SliceFacts, masks: BoolArray, probabilities: FloatArray | None) -> None:
        """Write the file or files of a slice.

        Args:
            facts: its id and what slices.csv holds.
            masks: ``[H, W, K]`` bool.
            probabilities: not used.

        Raises:
            DataError: if classes overlap and one label file is wanted.
        """
        name = f"{file_name(facts.id)}.png"
        if self.layout == "labels":
            self._save(f"{self.folder}/{name}", self._labels(facts, masks))
        else:
            for label, plane in zip(self.classes, split(masks), strict=True):
                self._save(f"{self.folder}/{self.folders[label]}/{name}", plane.view(np.uint8) * np.uint8(255))
        row = (facts.id, name, facts.scan, facts.position, facts.case, facts.height, facts.width)
        self.rows.append(row)

    def _labels(self, facts: SliceFacts, masks: BoolArray) -> AnyArray:
        """``[H, W]``: 0, or the number of the pixel's class, from 1."""
        overlap = masks.sum(axis=-1) > 1
        if overlap.any():
            y, x = np.argwhere(overlap)[0]
            both = " and ".join(self.classes[k] for k in np.flatnonzero(masks[y, x])[:2])
            raise DataError(
                f"slice {facts.id}: {both} overlap in {count(int(overlap.sum()), 'pixel')}, the first in row {y}, "
                f'column {x}; a label file holds one class a pixel. Use layout = "classes", or exclusive classes'
            )
        numbers = np.arange(1, len(self.classes) + 1, dtype=self.type)
        labels: AnyArray = (masks * numbers).sum(axis=-1, dtype=self.type)
        return labels

    def _save(self, name: str, image: AnyArray) -> None:
        done, content = cv2.imencode(".png", image)
        if not done:
            raise RunError(f"{self.out.place(name)} cannot be made into a PNG file")
        with self.out.path(name) as path:
            path.write_bytes(content.tobytes())

    def finish(self) -> str:
        """Write slices.csv."""
        with self.out.path(f"{self.folder}/slices.csv") as path:
            _write_table(path, self.rows)
        files = "label files" if self.layout == "labels" else f"files of {count(len(self.classes), 'class', 'classes')}"
        return f"{self.folder}/, {files} of {count(len(self.rows), 'slice')}"


def _write_table(path: Path, rows: list[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerows([COLUMNS, *rows])
