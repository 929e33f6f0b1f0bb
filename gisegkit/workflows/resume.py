"""What a resumed run has kept, and what may be different now: checked before any work, in the user's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gisegkit.build.console import Console
from gisegkit.build.experiment import Experiment
from gisegkit.engine.training import Training
from gisegkit.errors import RunError, count
from gisegkit.recipe.load import load_recipe
from gisegkit.runs.folder import RunDir
from gisegkit.runs.outputs import is_root

if TYPE_CHECKING:
    import pandas as pd

MICRO_BATCHING = ("memory", "micro_batch", "pieces", "activation_checkpointing")
"""Keys of [train] that say how batches are cut; a run may go on with others."""
FREE = (
    *(f"train.{key}" for key in (*MICRO_BATCHING, "workers", "precision", "check_gradients")),
    *("input.store", "input.store_limit", "dataset.root"),
)
"""What may be different when a run is resumed: it changes no result, or is said. Other data are seen by split.csv."""
MACHINE = ("versions", "platform", "cpus", "device", "git_revision", "plugins")
"""What environment.json says of the machine and the code."""


@dataclass(frozen=True)
class Kept:
    """What a resumed run has kept.

    Attributes:
        state: of ``last.pt``, None if no epoch was finished.
        split: columns id and part.
        elsewhere: what is different now, though the run may go on: key, what it was, what it is.
    """

    run: RunDir
    state: dict[str, Any] | None
    split: pd.DataFrame
    elsewhere: Mapping[str, tuple[Any, Any]]


def look_up(experiment: Experiment, out: Path) -> Kept | None:
    """The run to resume; None if there is nothing yet.

    Raises:
        RunError: if the run is of another recipe, or what it has kept is damaged.
    """
    console = experiment.console
    if not (out / "recipe.toml").is_file():
        console.say(f"{out} holds no run yet; starting from the first epoch")
        return None
    run = RunDir.open(out)
    elsewhere = check_recipe(run, experiment)
    run.environment()
    state, entries = run.state(), run.metrics()
    done = 0 if state is None else int(state["epoch"])
    if state is None and entries:
        console.say(
            f"{run.path / 'last.pt'} is missing, although metrics.jsonl has {len(entries)} epochs: training starts "
            "again from epoch 1"
        )
    missing = sorted({*range(1, done + 1)} - {entry["epoch"] for entry in entries})
    if missing:
        listed = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        console.say(f"{run.path / 'metrics.jsonl'} has no line of epoch {listed}; the report will lack them")
    split = kept_split(run, state)
    if state is not None:
        keep_best(run, state, console)
    return Kept(run, state, split, elsewhere)


def check_recipe(run: RunDir, experiment: Experiment) -> dict[str, tuple[Any, Any]]:
    """What differs between a run's recipe and the one to go on with, although the run may go on.

    Raises:
        RunError: if anything else differs; names every key and both values.
    """
    recipe, console = experiment.recipe, experiment.console
    stored = dict(flat(load_recipe(run.recipe, registries=experiment.registries).as_dict()))
    wanted = dict(flat(recipe.as_dict()))
    differing = [key for key in {**stored, **wanted} if stored.get(key) != wanted.get(key)]
    lines = [
        f"{key}: {_value(stored, key)} in the run, {_value(wanted, key)} now"
        for key in differing
        if key not in FREE and not is_root(key)
    ]
    if lines:
        remedy = f"\nUse its own ({run.recipe}), or another --out"
        if "train.epochs" in differing:
            remedy += (
                "\nA run cannot be made longer, because its schedule is planned for its epochs; a new run can start "
                f"from its best weights: --out ANOTHER --set train.init_from={run.path}"
            )
        raise RunError(
            f"{run.path} holds a run of another recipe, so it cannot be continued with this one:\n  "
            + "\n  ".join(lines)
            + remedy
        )
    moved = {key: (stored.get(key), wanted.get(key)) for key in differing if is_root(key)}
    for root, (before, now) in moved.items():
        console.say(f"{root} was {before}, is {now} now; its slices must be those of split.csv")
    return moved


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of nested tables and lists of tables by its key: ``loss.0.weight``."""
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    else:
        yield place, value
    for key, item in items:
        yield from flat(item, f"{place}.{key}" if place else str(key))


def _value(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "not there"


def kept_split(run: RunDir, state: Mapping[str, Any] | None) -> pd.DataFrame:
    """The parts of a resumed run; no fold is drawn again.

    Raises:
        RunError: if ``split.csv`` is missing, damaged, or not that of the checkpoint.
    """
    if state is not None:
        return run.verified_split(state["facts"])
    split = run.split()
    if split is None:
        raise RunError(
            f"{run.path / 'split.csv'} is missing; no epoch was finished, so delete {run.path} and start anew"
        )
    return split


def keep_best(run: RunDir, state: Mapping[str, Any], console: Console) -> None:
    """See to it that ``best.pt`` is there and whole before training continues for hours; made of ``last.pt`` if it can.

    Raises:
        RunError: if it is missing or damaged, and ``last.pt`` does not hold the best epoch.
    """
    if not state["validations"]:
        return
    best, last = state.get("best_epoch"), state["epoch"]
    try:
        found = run.weights()["epoch"]
        if found in (best, last + 1):  # best.pt of the next epoch was written, last.pt was not
            return
        problem = f"{run.path / 'best.pt'} is of epoch {found}, but the best one of this run is {best}"
    except RunError as error:
        problem = str(error)
    if best == last:
        run.write_best(state["epoch"], deployed(state), state["facts"])
        console.say(f"{problem.split('; ')[0]}; made again of last.pt, which holds the best epoch ({last})")
        return
    raise RunError(problem)


def deployed(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights to deploy of ``last.pt``: the average, if the run keeps one, else those of training."""
    weights: Mapping[str, Any] = (state.get("average") or {}).get("weights", state["model"])
    return weights


def keep_micro_batches(
    state: dict[str, Any], training: Training, experiment: Experiment, run: RunDir
) -> dict[str, Any]:
    """The checkpoint with the batches cut as the recipe now says, where that differs from the run's own recipe.

    Else they stay cut as they were, so that the resumed run equals the uninterrupted one.
    """
    recipe, console = experiment.recipe, experiment.console
    stored = load_recipe(run.recipe, registries=experiment.registries).train
    micro_batching = training.micro_batching
    if all(getattr(stored, key) == getattr(recipe.train, key) for key in MICRO_BATCHING):
        size, recomputing = state.get("micro_batch", micro_batching.size), state.get("recomputing", False)
        pieces = state.get("pieces", 1)
        if (size, recomputing, pieces) != (micro_batching.size, micro_batching.recomputing, micro_batching.pieces):
            recomputed = ", activations recomputed" if recomputing else ""
            cut = f" in {count(pieces, 'piece')}" if (pieces, micro_batching.pieces) != (1, 1) else ""
            console.say(f"batches stay cut as they were before: micro-batches of {size}{cut}{recomputed}")
        if pieces < console.world.size:
            console.say(
                f"{count(pieces, 'piece')} cannot be shared by {console.world.size} processes, so some have nothing to "
                f"train on; --set train.pieces={console.world.size} cuts anew, which changes the result"
            )
        return state
    before = (micro_batching.pieces, state.get("pieces", 1))
    cut = f", each in {count(before[0], 'piece')} (were {before[1]})" if before != (1, 1) else ""
    console.say(f"batches are cut anew, into micro-batches of {micro_batching.size} (were {state['micro_batch']}){cut}")
    return {
        **state,
        "micro_batch": micro_batching.size,
        "recomputing": micro_batching.recomputing,
        "pieces": micro_batching.pieces,
    }


def note_resume(kept: Kept, now: Mapping[str, Any], console: Console) -> None:
    """Write into environment.json that the run went on, and where it differs from its start; say the differences."""
    stored = kept.run.environment()
    began = dict(flat({key: stored.get(key) for key in MACHINE}))
    here = dict(flat({key: now.get(key) for key in MACHINE}))
    differing = {key: (began.get(key), here.get(key)) for key in {**began, **here} if began.get(key) != here.get(key)}
    if differing:
        listed = "; ".join(f"{key} was {was}, is {now} now" for key, (was, now) in differing.items())
        console.say(f"the machine or the code is not that of the start, so results may differ: {listed}")
    done = 0 if kept.state is None else kept.state["epoch"]
    changed = {key: value for key, (_, value) in {**differing, **kept.elsewhere}.items()}
    entry = {"after_epoch": done, "command": now.get("command"), "differs": changed}
    entry["processes"] = now.get("processes", 1)
    earlier = stored.get("resumed")
    kept.run.write_json(
        "environment.json", {**stored, "resumed": [*(earlier if isinstance(earlier, list) else []), entry]}
    )
