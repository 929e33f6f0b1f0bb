"""``giseg predict --as-labels``: predictions as a data set to train on, in which uncertain pixels are ignored."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gisegkit.build.experiment import Experiment
from gisegkit.build.sharing import slices_together
from gisegkit.data.images.tiff import write_tiff
from gisegkit.data.output import Output, SliceFacts, file_name
from gisegkit.data.reading import read_slice
from gisegkit.errors import DataError, RunError, count, listed
from gisegkit.registry.culprit import names_culprits
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import check_new_folder
from gisegkit.runs.parts import Part
from gisegkit.types import SPACING, AnyArray, BoolArray, FloatArray, MaskArray
from gisegkit.workflows.identity import leave_out_as_before, part_of_run
from gisegkit.workflows.writing import slice_facts

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "pseudo-"
"""Of ids, scans and cases: the slices are in the data already, without labels, and a recipe may hold both."""

UNCERTAIN, THERE = 128, 255
"""Values of the masks; with exclusive classes, label files have 1, 2, 3 ... in place of the second."""


@dataclass
class PseudoLabels:
    """A data set that was written.

    Attributes:
        folder: of the data set.
        table: the ``[[dataset]]`` table that names it.
        slices: how many.
        ignored: share of the pixels that are ignored.
        shares: of each class, its share of the other pixels.
    """

    folder: Path
    table: str
    slices: int = 0
    ignored: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)


@names_culprits
def pseudo_labels(run: RunDir, experiment: Experiment, out: Path, *, certain: float = 0.9) -> PseudoLabels:
    """Predict the unlabelled slices and write images and masks as a data set for ``role = "extra"``.

    A pixel counts where the network is certain of every class and the decision agrees: its probability is at least
    ``certain`` and the class is there, or at most 1 - ``certain`` and it is not. All other pixels are ignored.

    Paper: Lee, Pseudo-Label (ICML 2013 workshop on challenges in representation learning)

    Args:
        run: of one network, of several folds, or an ensemble.
        out: a new folder.
        certain: from 0.5 (every pixel counts that is not decided away) to 1.

    Raises:
        DataError: if there are no unlabelled slices, or ``certain`` is out of its range.
        RunError: if the folder exists, or a file cannot be written.
    """
    if not 0.5 <= certain <= 1:
        raise DataError(f"--certain {certain:g}: give a probability from 0.5 to 1")
    check_new_folder(out, run)
    weights = experiment.take_over(run)
    split = experiment.parts_of(run, weights)
    leave_out_as_before(experiment, split)
    experiment.check_data(training=False)
    experiment.look_at_store()
    rows = experiment.unlabelled
    if not len(rows):
        raise DataError(
            "these data have no unlabelled slices; labels for slices that have some would replace the truth by a guess"
        )
    for line in part_of_run(experiment, split, lambda: _unlabelled(experiment, split)).lines():
        experiment.console.say(line)
    rows = experiment.unlabelled
    if told := _partly_labelled(experiment):
        experiment.console.say(f"warning: {told}")
    with Output(out) as files:
        writer = _Writer(experiment, files, certain)
        facts = slice_facts(experiment.dataset, rows)
        with closing(slices_together(experiment, rows, label="predict", probabilities=True)) as slices:
            for item in slices:
                if item.probabilities is None:
                    raise RuntimeError("probabilities were asked for")
                writer.write(next(facts), read_slice(experiment.dataset, item.row), item.prediction, item.probabilities)
                del item
        made = writer.finish(out)
        files.finish(run=run.path.resolve().name, certain=certain)
    return made


def _unlabelled(experiment: Experiment, split: pd.DataFrame) -> Part:
    return experiment.named_part(split, "unlabelled", experiment.unlabelled)


def _partly_labelled(experiment: Experiment) -> str:
    """What is to be known of unlabelled slices whose case has labelled ones too; empty if there are none."""
    table = experiment.dataset.table
    cases, labelled = table["case"].astype(str), table["labelled"].to_numpy(dtype=bool)
    own = cases.iloc[experiment.unlabelled]
    torn = own[own.isin(cases[labelled])]
    if torn.empty:
        return ""
    return (
        f"{count(len(torn), 'slice is', 'slices are')} of cases that have labelled slices too "
        f"({listed(dict.fromkeys(torn))}): where such a case validates, a run that trains on these labels has seen the "
        "slices beside it, and its scores are too good; remove their lines from labels.csv"
    )


class _Writer:
    """Writes the slices of a data set, and at the end what describes them."""

    def __init__(self, experiment: Experiment, out: Output, certain: float) -> None:
        self.out, self.certain = out, certain
        self.classes, self.exclusive = experiment.classes, experiment.exclusive
        self.folders = {name: file_name(name) for name in self.classes}
        if self.exclusive and len(self.classes) >= UNCERTAIN:
            raise DataError(f"{len(self.classes)} classes do not fit into label files beside {UNCERTAIN} for ignored")
        self.spacing = _spacing(experiment)
        self.rows: list[list[object]] = []
        self.ignored = self.pixels = 0
        self.inside = np.zeros(len(self.classes), np.int64)

    def write(self, facts: SliceFacts, image: AnyArray, masks: BoolArray, probabilities: FloatArray) -> None:
        """One slice: its image as the data have it, and its masks."""
        unsure = uncertain(masks, probabilities, self.certain)
        name = file_name(PREFIX + facts.id)
        files = [self._image(name, image), *self._masks(name, masks, unsure)]
        place = [PREFIX + facts.id, *files, PREFIX + facts.case, PREFIX + facts.scan, facts.position]
        self.rows.append(place)
        self.ignored += int(unsure.sum())
        self.pixels += unsure.size
        self.inside += (masks & ~unsure[..., None]).sum((0, 1))

    def _image(self, name: str, image: AnyArray) -> str:
        """``[H, W, C]``: PNG where it holds the values as they are, else TIFF."""
        plain = image.dtype in (np.uint8, np.uint16) and image.shape[2] in (1, 3)
        file = f"images/{name}.{'png' if plain else 'tif'}"
        if plain:
            self._save(file, image[..., ::-1] if image.shape[2] == 3 else image)
        else:
            with self.out.path(file) as path:
                write_tiff(path, image)
        return file

    def _masks(self, name: str, masks: BoolArray, unsure: BoolArray) -> list[str]:
        if self.exclusive:
            labels = (masks * np.arange(1, len(self.classes) + 1, dtype=np.uint8)).sum(-1, dtype=np.uint8)
            labels[unsure] = UNCERTAIN
            planes = {f"masks/{name}.png": labels}
        else:
            planes = {
                f"masks/{self.folders[label]}/{name}.png": np.where(
                    unsure, np.uint8(UNCERTAIN), masks[..., k] * np.uint8(THERE)
                )
                for k, label in enumerate(self.classes)
            }
        for file, plane in planes.items():
            self._save(file, plane)
        return list(planes)

    def _save(self, file: str, image: AnyArray | MaskArray) -> None:
        done, content = cv2.imencode(".png", np.ascontiguousarray(image))
        if not done:
            raise RunError(f"{self.out.place(file)} cannot be made into a PNG file")
        with self.out.path(file) as path:
            path.write_bytes(content.tobytes())

    def finish(self, out: Path) -> PseudoLabels:
        """Write the table of pairs, and the table for the recipe."""
        columns = ["mask"] if self.exclusive else list(self.classes)
        with self.out.path("labels.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["id", "image", *columns, "case", "scan", "position"], *self.rows])
        text = self._described(out)
        with self.out.path("dataset.toml") as path:
            path.write_text(text, encoding="utf-8")
        counted = max(1, self.pixels - self.ignored)
        shares = dict(zip(self.classes, (self.inside / counted).tolist(), strict=True))
        return PseudoLabels(out, text, len(self.rows), self.ignored / max(1, self.pixels), shares)

    def _described(self, out: Path) -> str:
        """The ``[[dataset]]`` table."""
        quoted = [json.dumps(name, ensure_ascii=False) for name in self.classes]
        labels = ", ".join(f"{name} = {k}" for k, name in enumerate(quoted, 1))
        lines = [
            "[[dataset]]",
            'name = "folder"',
            'role = "extra"',
            f"root = {json.dumps(out.resolve().as_posix(), ensure_ascii=False)}",
            'table = "labels.csv"',
            f"labels = {{ {labels} }}" if self.exclusive else f"classes = [{', '.join(quoted)}]",
            f"ignore = [{UNCERTAIN}]",
            *([f"spacing = {list(self.spacing)}"] if self.spacing else []),
        ]
        return "\n".join(lines) + "\n"


def uncertain(masks: BoolArray, probabilities: FloatArray, certain: float) -> BoolArray:
    """``[H, W]``: where the network is not certain of a class, or the decision says otherwise.

    Args:
        masks: ``[H, W, K]`` bool, as decided.
        probabilities: ``[H, W, K]`` in [0, 1].
        certain: the probability from which a class is certain to be there; below 1 minus it, to be absent.
    """
    agrees = np.where(masks, probabilities >= certain, probabilities <= 1 - certain)
    found: BoolArray = np.logical_not(agrees.all(axis=-1))
    return found


def _spacing(experiment: Experiment) -> Sequence[float]:
    """mm between slices, rows and columns, if all unlabelled slices have the same; says so if they differ."""
    table = experiment.dataset.table
    columns = [name for name in SPACING if name in table.columns]
    if not columns:
        return ()
    found = table[columns].iloc[experiment.unlabelled].drop_duplicates()
    if len(found) > 1:
        experiment.console.say(
            "the slices differ in spacing, which a folder of images cannot say of each; dataset.toml leaves it out"
        )
        return ()
    values = [float(value) for value in found.iloc[0].tolist()]
    return values if len(values) in (2, 3) and all(np.isfinite(values)) else ()
