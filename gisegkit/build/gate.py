"""The gate of an ensemble as a live object: another run, which sees the same slices and decides in its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.build.other_classes import Unmasked
from gisegkit.engine.gate import gated_scans, seen_pixels
from gisegkit.errors import DataError, RunError, count
from gisegkit.recipe.differences import fingerprint
from gisegkit.runs.decision_file import StoredDecision

if TYPE_CHECKING:
    from collections.abc import Generator

    from gisegkit.build.data import Rows
    from gisegkit.build.ensemble import Ensemble
    from gisegkit.engine.predictor import ScanProbabilities
    from gisegkit.runs.gates import StoredGate
    from gisegkit.types import BoolArray, Dataset, Progress


class Gate:
    """Empties the classes that a run does not see.

    Args:
        stored: the run and the pixels by class.
        whole: the run's networks, with its recipe and decision.
        say: prints a line.
    """

    def __init__(self, stored: StoredGate, whole: Ensemble, *, say: Callable[[str], None]) -> None:
        self.stored, self.whole, self._say = stored, whole, say
        self._classes: tuple[str, ...] = ()
        self._open: tuple[bytes, Mapping[int, BoolArray]] = (b"", {})

    def take_over(self, dataset: Dataset, *, own: bool) -> dict[str, Any]:
        """Look at the run's networks; returns what of the gate a score must say.

        Args:
            dataset: whose slices are predicted.
            own: whether they are those that the ensemble was made for, so that kept probabilities are of them.

        Raises:
            RunError: if the run lacks a class, or weights are missing, damaged, or not those that were meant.
        """
        whole, stored = self.whole, self.stored
        self._classes = tuple(dataset.classes)
        classes = tuple(stored.members[0].networks[0].weights()["facts"]["classes"])
        if missing := [name for name in self._classes if name not in classes]:
            raise RunError(
                f"the gate {stored.label} does not know {', '.join(missing)}; its classes are {', '.join(classes)}. "
                "A gate must see every class of the ensemble"
            )
        if set(stored.pixels) != set(self._classes):
            raise RunError(
                f"the gate {stored.label} has pixels for {', '.join(stored.pixels)}, the data have the classes "
                f"{', '.join(self._classes)}; make the ensemble again with giseg ensemble"
            )
        whole.__dict__["dataset"] = dataset
        if classes != self._classes:
            whole.__dict__["dataset"] = Unmasked(dataset, classes)
            whole.recipe = replace(whole.recipe, input=replace(whole.recipe.input, store="off"))
        whole.own = own
        weights = whole.take_over(stored.run)
        decision = self._decision(classes)
        if stored.decision and stored.decision != decision:
            self._say(f"the gate {stored.label} decides otherwise than when the ensemble was made; it counts as it is")
        return {
            "run": str(stored.run.path),
            "pixels": dict(stored.pixels),
            "decision": decision,
            "weights": weights["digest"],
            "networks": weights["networks"],
        }

    def forget(self) -> None:
        """Look at slices anew, since they have other images now."""
        self._open = b"", {}

    def noted(self, classes: Sequence[str]) -> Gate:
        """The same gate that remembers how it decides.

        Args:
            classes: of its networks.
        """
        self.stored = replace(self.stored, decision=self._decision(classes))
        return self

    def _decision(self, classes: Sequence[str]) -> str:
        """Stands for how the run decides and how its members are mixed."""
        found = StoredDecision.of_recipe(self.whole.recipe, classes, exclusive=False)
        return fingerprint(found.as_dict(), [member.weight for member in self.whole.members])

    def apply(
        self, predict: Callable[[], Generator[ScanProbabilities]], rows: Rows, *, progress: Progress
    ) -> Generator[ScanProbabilities]:
        """Predicted scans without the classes that the gate does not see, one slice at a time.

        Args:
            predict: begins to predict the rows; called when the gate has seen all of them, and its networks are gone.
        """
        open_to = self.sees(rows, progress=progress)
        return gated_scans(predict(), open_to)

    def sees(self, rows: Rows, *, progress: Progress) -> Mapping[int, BoolArray]:
        """The classes ``[K]`` that each row is open to; looked at once for the same rows."""
        key = rows.tobytes()
        if self._open[0] != key:
            self._open = key, self._seen(rows, progress)
        return self._open[1]

    def _seen(self, rows: Rows, progress: Progress) -> Mapping[int, BoolArray]:
        """The classes that each row is open to; says how many slices these are."""
        whole, order = self.whole, [self.whole.classes.index(name) for name in self._classes]
        pixels = np.array([self.stored.pixels[name] for name in self._classes])
        found = seen_pixels(whole.slices(rows, label="gate", progress=progress))
        whole.release()
        open_to = {row: numbers[order] > pixels for row, numbers in found.items()}
        slices = np.sum(list(open_to.values()), axis=0).tolist() if open_to else []
        seen = ", ".join(f"{name} in {number}" for name, number in zip(self._classes, slices, strict=False))
        self._say(
            f"the gate {self.stored.label} sees {seen} of {count(len(open_to), 'slice')}; elsewhere it empties them"
        )
        return open_to


def refuse_zero(thresholds: tuple[float, ...], gate: StoredGate) -> None:
    """A threshold of 0 fills a slice with the class, even one that the gate empties.

    Raises:
        DataError: if there is one.
    """
    if 0 in thresholds:
        raise DataError(
            f"a threshold of 0 gives every pixel to the class, also where the gate {gate.label} empties it; set "
            "evaluate.threshold above 0"
        )
