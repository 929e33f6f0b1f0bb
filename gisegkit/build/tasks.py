"""What process 0 asks the other processes for. A task holds all that they need: they look into no run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from gisegkit.engine.plan import Plan
from gisegkit.engine.scan_shares import WHOLE, Share
from gisegkit.recipe.sections import Recipe
from gisegkit.runs.members import Member

if TYPE_CHECKING:
    import pandas as pd

    from gisegkit.build.data import ExperimentData, Rows
    from gisegkit.build.ensemble import Ensemble
    from gisegkit.build.experiment import Experiment
    from gisegkit.build.networks import Network
    from gisegkit.types import BoolArray

What = Literal["train", "score", "slices", "keep"]


class Voice(NamedTuple):
    """One of several networks; its weights follow the task.

    Attributes:
        recipe: of its run.
        facts: of its weights.
        order: for each class of the data, its place among the network's; empty if it is the same.
    """

    recipe: Recipe
    facts: Mapping[str, Any]
    order: tuple[int, ...]


class Chorus(NamedTuple):
    """Several networks.

    Attributes:
        folder: of the ensemble, or of the run of several folds.
        members: as of Ensemble; voices: the networks of each.
        open_to: the classes ``[K]`` of each row that a gate does not empty; None without a gate.
    """

    folder: str
    members: tuple[Member, ...]
    voices: tuple[tuple[Voice, ...], ...]
    open_to: Mapping[int, BoolArray] | None = None


@dataclass(frozen=True)
class Task:
    """What process 0 asks the others for.

    Attributes:
        what: to train, to score slices, to predict slices for process 0, or probabilities that it keeps.
        device: as process 0 was asked for it.
        recipe: of the data, and of the network if there is one.
        left_out: ids of slices that the data are to do without.
        data: a digest of the slices' ids, which must be those of process 0.
        facts: classes and channels; weights: of the network, on the CPU. Both are empty where there are several.
        chorus: several networks.
        split: the parts to train and validate on, columns id and part.
        state: to resume from.
        batching: slices of a micro-batch, the fewest of a piece, pieces, and whether activations are recomputed.
        plan: for the memory of process 0.
        rows: to score or predict.
        share: that of process 0.
        keep: whether process 0 keeps the probabilities of what is scored.
        probabilities: whether predicted slices bring them.
        chosen: rows that bring their truth, for pictures.
    """

    what: What
    device: str
    recipe: Recipe
    left_out: tuple[str, ...]
    data: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    chorus: Chorus | None = None
    split: pd.DataFrame | None = None
    state: Mapping[str, Any] | None = None
    batching: tuple[int, int, int, bool] = (0, 1, 1, False)
    plan: Plan | None = None
    rows: Rows | None = None
    share: Share = WHOLE
    keep: bool = False
    probabilities: bool = False
    chosen: frozenset[int] = frozenset()


def digest_of_ids(data: ExperimentData) -> str:
    """Of the slices' ids in the order of the table, by whose rows slices are known in a task."""
    return hashlib.sha256("\n".join(data.dataset.table["id"].astype(str)).encode()).hexdigest()


def ask(experiment: Experiment, what: What, **more: Any) -> None:
    """Ask the other processes to do something with the network, or the networks, of an experiment.

    Args:
        more: attributes of the task.
    """
    if experiment.networks:
        asked: dict[str, Any] = {"chorus": _chorus(cast("Ensemble", experiment), more.get("rows"))}
    else:
        asked = {"facts": experiment.facts, "weights": experiment.model.state_dict()}
    data, console = digest_of_ids(experiment), experiment.console
    task = Task(what, console.device, experiment.recipe, tuple(experiment.skipped), data, **asked, **more)
    console.world.send(task)
    for networks in experiment.networks:
        for one in networks:
            send_weights(one)


def _chorus(whole: Ensemble, rows: Rows | None) -> Chorus:
    """All networks of an ensemble; its gate is asked what it sees of the rows, and the gate's networks are freed."""
    voices = tuple(tuple(voice_of(one) for one in networks) for networks in whole.networks)
    seen = None if whole.gate is None or rows is None else whole.gate.sees(rows, progress=whole.console.progress)
    return Chorus(str(whole.run.path), whole.members, voices, seen)


def ask_one(whole: Ensemble, one: Network, what: What, **more: Any) -> None:
    """As ``ask``, but for one network of several, at the network's size and with its order of classes."""
    member = Member(one.run, one.run.path.name, 1.0, (one.run,))
    folder = whole.run.path if whole.of_folds else one.run.path.parent
    chorus = Chorus(str(folder), (member,), ((voice_of(one),),))
    data, console = digest_of_ids(whole), whole.console
    console.world.send(Task(what, console.device, whole.recipe, tuple(whole.skipped), data, chorus=chorus, **more))
    send_weights(one)


def voice_of(one: Network) -> Voice:
    """What the others must know of a network before its weights."""
    return Voice(one.experiment.recipe, one.facts, one.order)


def send_weights(one: Network) -> None:
    """Send the weights of a network to the processes that are asked for something."""
    one.load()
    one.experiment.console.world.send(one.experiment.model.state_dict())
