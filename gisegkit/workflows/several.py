"""One run in several processes: process 0 does what one process does, and asks the others to help where it computes.

Process 0 alone reads the recipe and the run folder, writes and prints. The others wait for tasks. A task holds all that
a helper needs, so that no helper looks into a run folder, downloads weights or draws folds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gisegkit.build.console import Console
from gisegkit.build.ensemble import Ensemble
from gisegkit.build.experiment import Experiment
from gisegkit.engine.checkpointing import disable, enable
from gisegkit.engine.fit import fit
from gisegkit.engine.plan import Plan
from gisegkit.engine.scoring import Scoreboard, score_scans
from gisegkit.engine.world import World
from gisegkit.errors import DataError, TrainingError
from gisegkit.plugins import Plugins
from gisegkit.recipe.sections import Recipe
from gisegkit.report.preview import Panel, pick_rows
from gisegkit.types import silent
from gisegkit.workflows.alike import refuse_other_slices
from gisegkit.workflows.pages import panels_of

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.build.data import Rows
    from gisegkit.data.probability_file import ProbabilityWriter


@dataclass(frozen=True)
class Task:
    """What process 0 asks the others for.

    Attributes:
        what: to train, or to score slices.
        device: as process 0 was asked for it.
        left_out: ids of slices that the data are to do without.
        data: a digest of the slices' ids, which must be those of process 0.
        facts: classes and channels.
        weights: of the network, on the CPU.
        split: the parts to train and validate on, columns id and part.
        state: to resume from.
        batching: slices of a micro-batch, the fewest of a piece, pieces, and whether activations are recomputed.
        plan: for the memory of process 0.
        rows: to score.
    """

    what: Literal["train", "score"]
    device: str
    recipe: Recipe
    left_out: tuple[str, ...]
    data: str
    facts: Mapping[str, Any]
    weights: Mapping[str, Any]
    split: pd.DataFrame | None = None
    state: Mapping[str, Any] | None = None
    batching: tuple[int, int, int, bool] = (0, 1, 1, False)
    plan: Plan | None = None
    rows: Rows | None = None


def _task(experiment: Experiment, what: Literal["train", "score"], **more: Any) -> Task:
    return Task(
        what,
        experiment.console.device,
        experiment.recipe,
        tuple(experiment.skipped),
        digest_of_ids(experiment),
        experiment.facts,
        experiment.model.state_dict(),
        **more,
    )


def digest_of_ids(experiment: Experiment) -> str:
    """Of the slices' ids in the order of the table, by whose rows slices are known in a task."""
    return hashlib.sha256("\n".join(experiment.dataset.table["id"].astype(str)).encode()).hexdigest()


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
    task = _task(experiment, "train", split=split, state=state, batching=batching, plan=plan)
    experiment.console.world.send(task)
    refuse_other_slices(experiment, np.concatenate(experiment.split))


def score_together(
    experiment: Experiment, rows: Rows, keep: ProbabilityWriter | None = None
) -> tuple[Scoreboard, list[Panel]]:
    """The scores of the rows, and some slices of them to draw; of several processes each scores some scans.

    Process 0 alone scores several networks, and slices whose probabilities are kept.
    """
    world = experiment.console.world
    if world.size == 1 or keep is not None or isinstance(experiment, Ensemble):
        return _scored(experiment, rows, (0, 1), keep)
    world.send(_task(experiment, "score", rows=rows))
    refuse_other_slices(experiment, rows)
    own, panels = _scored(experiment, rows, (world.rank, world.size))
    board = Scoreboard(experiment.metrics, experiment.classes)
    for values in world.collect(own.recorded):
        board.record(values)
    return board, world.collect(panels)


def _scored(
    experiment: Experiment, rows: Rows, part: tuple[int, int], keep: ProbabilityWriter | None = None
) -> tuple[Scoreboard, list[Panel]]:
    board = Scoreboard(experiment.metrics, experiment.classes)
    panels: list[Panel] = []
    chosen = set(pick_rows(experiment.dataset.table, rows))
    progress = experiment.console.progress
    scans = experiment.scans(rows, label="evaluate", progress=progress, keep=keep, part=part)
    for scan in score_scans(scans, board, experiment.dataset, threads=experiment.device.threads):
        panels += panels_of(scan, experiment.dataset, chosen)
        del scan  # else it would live until the next one is predicted
    return board, panels


# --- the other processes ------------------------------------------------------------------------------------------


def help_out(plugins: Plugins, world: World) -> None:
    """What processes other than 0 do: the tasks of process 0, until it has no more or has ended.

    Raises:
        PeerLost: if another process has ended, which tells itself why. This one must not end well then: on another
            machine, torchrun would take the run for finished, and not start its processes again.
        GisegError: whatever keeps this process from doing a task.
    """
    experiment: Experiment | None = None
    while (task := world.receive()) is not None:
        experiment = _experiment(task, experiment, plugins, world)
        if task.what == "train":
            _train(experiment, task)
        else:
            _score(experiment, task)


def _experiment(task: Task, before: Experiment | None, plugins: Plugins, world: World) -> Experiment:
    """The experiment of process 0, with its slices and weights; data that were built for the task before are kept."""
    if before is not None and before.recipe == task.recipe:
        experiment = before
    else:
        console = Console(plugins, task.device, world=world)
        experiment = Experiment(task.recipe, plugins.registries, console=console)
    experiment.skip(task.left_out)
    if digest_of_ids(experiment) != task.data:
        raise DataError(
            f"process {world.rank} finds other slices than process 0 ({len(experiment.dataset.table)} of them): all "
            "machines must see the same files, in the same state, under the same path"
        )
    experiment.expect(task.facts)
    experiment.model.load_state_dict(task.weights)
    return experiment


def _train(experiment: Experiment, task: Task) -> None:
    assert task.split is not None
    experiment.keep_split(task.split[["id", "part"]])
    if experiment.store is not None:
        experiment.store.prepare(np.concatenate(experiment.split), progress=silent)
    refuse_other_slices(experiment, np.concatenate(experiment.split))
    experiment.__dict__["assembled"] = experiment.assembled._replace(plan=task.plan)
    training = experiment.assembled.training
    one = training.micro_batching
    one.size, one.least, one.pieces, recomputing = task.batching
    disable(one.blocks)
    if recomputing:
        enable(one.blocks)
    for _ in fit(training, state=task.state):
        pass
    experiment.release_training()
    for name in ("optimizer", "schedule"):
        experiment.__dict__.pop(name, None)


def _score(experiment: Experiment, task: Task) -> None:
    assert task.rows is not None
    experiment.look_at_store()
    refuse_other_slices(experiment, task.rows)
    world = experiment.console.world
    own, panels = _scored(experiment, task.rows, (world.rank, world.size))
    world.collect(own.recorded)
    world.collect(panels)
