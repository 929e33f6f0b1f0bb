"""The competition's file of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gisegkit.data import rle
from gisegkit.data.planes import split
from gisegkit.data.submission import SubmissionLines
from gisegkit.errors import count, listed

if TYPE_CHECKING:
    from gisegkit.data.output import Output, PredictionFacts, SliceFacts
    from gisegkit.types import BoolArray, FloatArray

NAME = "submission.csv"


class Submission:
    """The file submission.csv: id, class and the mask as run lengths, one row a slice and class."""

    wants: Literal["masks", "probabilities"] = "masks"

    def begin(self, facts: PredictionFacts, out: Output) -> None:
        """Open the file.

        Args:
            facts: the classes, and the order of the rows if a data set's owner asks for one.
            out: makes the file.
        """
        self.classes = facts.classes
        self.stack = out.stack()
        path = self.stack.enter_context(out.path(NAME))
        file = self.stack.enter_context(path.open("w", newline="", encoding="utf-8"))
        self.lines = SubmissionLines(file, str(out.place(NAME)), order=facts.order, left_out=facts.left_out)
        self.slices = 0

    def write(self, facts: SliceFacts, masks: BoolArray, probabilities: FloatArray | None) -> None:
        """Add the rows of a slice.

        Args:
            facts: its id.
            masks: ``[H, W, K]`` bool.
            probabilities: not used.
        """
        for label, plane in zip(self.classes, split(masks), strict=True):
            self.lines.add(facts.id, label, rle.encode(plane))
        self.slices += 1

    def finish(self) -> str:
        """Close the file."""
        self.lines.finish()
        self.stack.close()
        filled = self.lines.filled
        empty = f"; empty masks for {count(len(filled), 'slice')} left out: {listed(filled)}" if filled else ""
        return f"{NAME}, {count(self.slices, 'slice')}{empty}"
