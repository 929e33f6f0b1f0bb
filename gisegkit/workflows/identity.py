"""Which slices of today's data a run means: found by name, and known again by the digest of their pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gisegkit.build.doctor import examine
from gisegkit.build.experiment import Experiment
from gisegkit.data.folds import LEFT_OUT
from gisegkit.runs.parts import Part, identified

if TYPE_CHECKING:
    import pandas as pd


def part_of_run(experiment: Experiment, split: pd.DataFrame, pick: Callable[[], Part]) -> Part:
    """The slices that are scored or predicted, each looked at once.

    What is doubtful in them is told, errors stop or are left out as ``on_bad`` says, and slices that have other images
    than in the run, or images that it was trained on, are counted.

    Args:
        split: the run's ``split.csv``.
        pick: chooses them by their names; called again if slices are left out.

    Raises:
        FindingsError: if slices have errors that are not left out.
    """
    while True:
        part = pick()
        if not examine(experiment, part.rows):
            known = experiment.trained_in(split, part.name)
            found = identified(part, known, experiment.trained_table, experiment.digests)
            if not examine(experiment, found.rows):  # other rows, if these are other data
                return identified(part, known, experiment.trained_table, experiment.digests)
        experiment.look_at_store()


def leave_out_as_before(experiment: Experiment, split: pd.DataFrame) -> None:
    """Leave out the slices that the run left out because they are bad, without reading them again."""
    experiment.skip(split["id"][split["part"] == LEFT_OUT])
