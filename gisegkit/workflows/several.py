"""One run in several processes: process 0 does what one process does, and asks the others to help where it computes.

Process 0 alone reads the recipe and the run folder, writes and prints. ``helping.py`` is what the others do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.build.alike import refuse_other_slices
from gisegkit.build.experiment import Experiment
from gisegkit.build.sharing import own_share, take_kept
from gisegkit.build.tasks import ask
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.engine.scoring import Scoreboard, score_scans
from gisegkit.errors import TrainingError
from gisegkit.report.preview import Panel, pick_rows
from gisegkit.workflows.pages import panels_of

if TYPE_CHECKING:
    from gisegkit.build.data import Rows
    from gisegkit.data.probability_file import ProbabilityWriter


def refuse_unshared(experiment: Experiment) -> None:
    """Check that a script that ``torchrun`` starts several times does not train several times.

    Raises:
        TrainingError: if it would.
    """
    count = int(os.environ.get("WORLD_SIZE") or 1)
    if count > experiment.console.world.size:
        raise TrainingError(
            f"WORLD_SIZE = {count}: {count} processes were started, and from Python each would train for itself; share "
            "the training with: torchrun ... -m gisegkit run RECIPE"
        )


def ask_to_train(experiment: Experiment, state: Mapping[str, Any] | None) -> None:
    """Have the other processes enter ``fit`` with the same training, from the same state; with one process, nothing."""
    if experiment.console.world.size == 1:
        return
    training, plan = experiment.assembled
    one = training.micro_batching
    batching = (one.size, one.least, one.pieces, one.recomputing)
    split = experiment.split_table
    ask(experiment, "train", split=split, state=state, batching=batching, plan=plan)
    refuse_other_slices(experiment, np.concatenate(experiment.split))


def score_together(
    experiment: Experiment, rows: Rows, keep: ProbabilityWriter | None = None
) -> tuple[Scoreboard, list[Panel]]:
    """The scores of the rows, and some slices of them to draw; of several processes each scores some scans.

    Args:
        keep: takes the probabilities, in the scans' order.
    """
    world = experiment.console.world
    if world.size == 1 or not experiment.shares(rows):
        return scored(experiment, rows, WHOLE, keep)
    share = own_share(world)
    ask(experiment, "score", rows=rows, share=share, keep=keep is not None)
    refuse_other_slices(experiment, rows)
    own, panels = scored(experiment, rows, share, keep)
    board = Scoreboard(experiment.metrics, experiment.classes)
    for values in world.collect(own.recorded):
        board.record(values)
    panels = world.collect(panels)
    if keep is not None:
        take_kept(world, keep)
    return board, panels


def scored(
    experiment: Experiment, rows: Rows, share: Share, keep: ProbabilityWriter | None = None
) -> tuple[Scoreboard, list[Panel]]:
    """A share of the rows' scans: their scores, and the slices of them that are drawn."""
    board = Scoreboard(experiment.metrics, experiment.classes)
    panels: list[Panel] = []
    chosen = set(pick_rows(experiment.dataset.table, rows))
    progress = experiment.console.progress
    scans = experiment.scans(rows, label="evaluate", progress=progress, keep=keep, share=share)
    for scan in score_scans(scans, board, experiment.dataset, threads=experiment.device.threads):
        panels += panels_of(scan, experiment.dataset, chosen)
        del scan  # else it would live until the next one is predicted
    return board, panels
