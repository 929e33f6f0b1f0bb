"""Which epochs of a run its losses cover, and which count in a mean of weights.

Looks at spans, since a recipe may say any number of epochs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gisegkit.recipe.sections import ComponentSpec, Train


def uncovered(epochs: int, losses: Sequence[ComponentSpec]) -> tuple[int, int]:
    """The first epoch (from 1) in which no loss counts, and how many there are; (0, 0) if there is none."""
    first = idle = 0
    covered = 0  # epochs from 1 on that have a loss, or were counted
    for start, end in sorted((spec.start_epoch, min(spec.end_epoch or epochs, epochs)) for spec in losses):
        if start > covered + 1:
            first = first or covered + 1
            idle += start - covered - 1
        covered = max(covered, end)
    if covered < epochs:
        first = first or covered + 1
        idle += epochs - covered
    return first, idle


def first_in_mean(train: Train) -> int:
    """The first epoch, from 1, whose end counts in the mean of ``average = "swa"``."""
    before = math.floor(train.epochs * train.swa_start + 1e-9)  # 100 * 0.29 is a little less than 29
    return min(train.epochs, before + 1)
