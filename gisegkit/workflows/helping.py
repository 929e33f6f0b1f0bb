"""What the processes other than 0 do: they wait for tasks, and write nothing but what they give process 0."""

from __future__ import annotations

import tempfile
from collections import deque
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from gisegkit.build.alike import refuse_other_predicted, refuse_other_slices
from gisegkit.build.console import Console
from gisegkit.build.data import Rows
from gisegkit.build.ensemble import Ensemble
from gisegkit.build.experiment import TRAINING_PARTS, Experiment
from gisegkit.build.folds import SHARED
from gisegkit.build.networks import Network
from gisegkit.build.sharing import give_kept, give_slices, own_share, rows_of
from gisegkit.build.tasks import Chorus, Task, digest_of_ids
from gisegkit.data.probability_file import ProbabilityWriter
from gisegkit.engine.checkpointing import disable, enable
from gisegkit.engine.fit import fit
from gisegkit.engine.scan_shares import Share
from gisegkit.engine.stored import kept_scans
from gisegkit.engine.world import World
from gisegkit.errors import DataError
from gisegkit.plugins import Plugins
from gisegkit.runs.folder import RunDir
from gisegkit.runs.kept import NAME
from gisegkit.types import silent
from gisegkit.workflows.several import scored


def help_out(plugins: Plugins, world: World) -> None:
    """Do the tasks of process 0, until it has no more.

    Raises:
        PeerLost: if another process has ended, which tells itself why. This one must not end well then: on another
            machine, torchrun would take the run for finished, and not start its processes again.
        GisegError: whatever keeps this process from doing a task.
    """
    experiment: Experiment | None = None
    while (task := world.receive()) is not None:
        experiment = experiment_of(task, experiment, plugins, world)
        DO[task.what](experiment, task)


def experiment_of(task: Task, before: Experiment | None, plugins: Plugins, world: World) -> Experiment:
    """The experiment of process 0, with its slices and weights; data that were built for the task before are kept."""
    experiment = _reused(task, before) or _made(task, before, plugins, world)
    experiment.skip(task.left_out)
    if digest_of_ids(experiment) != task.data:
        raise DataError(
            f"process {world.rank} finds other slices than process 0 ({len(experiment.dataset.table)} of them): all "
            "machines must see the same files, in the same state, under the same path"
        )
    if isinstance(experiment, Ensemble):
        assert task.chorus is not None
        _join(experiment, task.chorus)
    else:
        experiment.expect(task.facts)
        experiment.model.load_state_dict(task.weights)
    return experiment


def _reused(task: Task, before: Experiment | None) -> Experiment | None:
    """The experiment of the task before, if this one has the same network."""
    fits = before is not None and before.recipe == task.recipe and not isinstance(before, Ensemble)
    return before if fits and task.chorus is None else None


def _made(task: Task, before: Experiment | None, plugins: Plugins, world: World) -> Experiment:
    """A new experiment; its data are those of the one before if its recipe differs in the fold at most."""
    console = Console(plugins, task.device, world=world)
    if task.chorus is None:
        experiment = Experiment(task.recipe, plugins.registries, console=console)
    else:
        folder, members = RunDir(Path(task.chorus.folder)), task.chorus.members
        experiment = Ensemble(task.recipe, plugins.registries, console=console, run=folder, members=members)
    if before is not None:
        if replace(before.recipe, split=task.recipe.split) == task.recipe:
            experiment.__dict__.update({name: getattr(before, name) for name in SHARED})
        for name in ("model", "network_predictor", "views", "networks", *TRAINING_PARTS):
            before.__dict__.pop(name, None)  # else two networks would be in memory
        before.device.release()
    return experiment


def _join(whole: Ensemble, chorus: Chorus) -> None:
    """Make the networks of an ensemble, and receive their weights."""
    whole.open_to = chorus.open_to
    whole.__dict__["networks"] = [
        [
            Network(run, whole.beside(one.recipe, one.order), one.facts, 0, "", one.order, frozenset())
            for one, run in zip(voices, member.networks, strict=True)
        ]
        for voices, member in zip(chorus.voices, chorus.members, strict=True)
    ]
    for networks in whole.networks:
        for one in networks:
            weights = whole.console.world.receive()
            one.experiment.expect(one.facts)
            one.experiment.model.load_state_dict(weights)


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
    world = experiment.console.world
    rows = _looked_at(experiment, task, own_share(world))
    with tempfile.TemporaryDirectory(prefix="giseg-") if task.keep else nullcontext("") as folder:
        file = Path(folder) / NAME
        with _writer(file, experiment) if task.keep else nullcontext() as keep:
            own, panels = scored(experiment, rows, own_share(world), keep)
        world.collect(own.recorded)
        world.collect(panels)
        if task.keep:
            give_kept(world, file)


def _looked_at(experiment: Experiment, task: Task, share: Share) -> Rows:
    """The rows of a task, once those of a share are known to be what process 0 sees."""
    assert task.rows is not None
    experiment.look_at_store()
    refuse = refuse_other_predicted if task.what == "slices" else refuse_other_slices
    refuse(experiment, rows_of(experiment, task.rows, share))
    return task.rows


def _slices(experiment: Experiment, task: Task) -> None:
    _looked_at(experiment, task, task.share._replace(number=experiment.console.world.rank))
    give_slices(experiment, task)


def _keep(experiment: Experiment, task: Task) -> None:
    world, one = experiment.console.world, experiment.networks[0][0].experiment
    rows = _looked_at(experiment, task, own_share(world))
    with tempfile.TemporaryDirectory(prefix="giseg-") as folder:
        file = Path(folder) / NAME
        with _writer(file, one) as writer:
            found = one.probabilities(rows, label="", progress=silent, sized=True, share=own_share(world))
            for scan in kept_scans(found, writer, one.dataset.table):
                deque(scan, maxlen=0)
        give_kept(world, file)


def _writer(file: Path, experiment: Experiment) -> ProbabilityWriter:
    return ProbabilityWriter(file, classes=experiment.classes, exclusive=experiment.exclusive)


DO = {"train": _train, "score": _score, "slices": _slices, "keep": _keep}
