"""Run folders that predict with several networks: a run of several folds, and an ensemble of runs.

The folds of a run are in ``fold0``, ``fold1`` ... inside its folder. An ensemble is a folder with ``ensemble.json``:
its members, by paths relative to it, their weights in the mean, and the digests of the networks that were meant.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gisegkit.data.folds import FOLD
from gisegkit.errors import RunError, listed
from gisegkit.runs.files import read_table, read_text
from gisegkit.runs.folder import ENSEMBLE, RunDir

FORMAT = 1
"""The version of ``ensemble.json``."""


@dataclass(frozen=True)
class Member:
    """A run that takes part in a prediction.

    Attributes:
        run: its folder; label: what messages call it.
        weight: in the mean, positive.
        networks: the run folders of its networks: of its folds, or itself.
        digests: of the networks' weights, as they were when the ensemble was made; empty if nobody noted them.
    """

    run: RunDir
    label: str
    weight: float
    networks: tuple[RunDir, ...]
    digests: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The weight of each of its networks where all of them predict."""
        return self.weight / len(self.networks)


def is_ensemble(run: RunDir) -> bool:
    """Whether a folder holds an ensemble of runs."""
    return (run.path / ENSEMBLE).is_file()


def folds_of(run: RunDir) -> tuple[int, ...]:
    """The folds that a run of several trains; empty for a run of one network, and for an ensemble.

    Raises:
        RunError: if its recipe cannot be read.
    """
    if is_ensemble(run):
        return ()
    try:
        split = tomllib.loads(read_text(run.recipe)).get("split", {})
    except ValueError as error:
        raise RunError(f"{run.recipe} cannot be read ({error}); restore it from a copy of the run") from error
    fold = split.get("fold", 0) if isinstance(split, dict) else 0
    if fold == "all":
        return tuple(range(split.get("folds", 5)))
    return tuple(fold) if isinstance(fold, list) else ()


def fold_folder(run: RunDir, fold: int) -> Path:
    """The run folder of a fold."""
    return run.path / f"{FOLD}{fold}"


def networks_of(run: RunDir) -> tuple[RunDir, ...]:
    """The run folders of a run's networks: of its folds, or itself.

    Raises:
        RunError: if a fold is missing.
    """
    folds = folds_of(run)
    if not folds:
        return (run,)
    missing = [str(fold_folder(run, fold)) for fold in folds if not (fold_folder(run, fold) / "recipe.toml").is_file()]
    if missing:
        raise RunError(
            f"{run.path} lacks the runs of folds that its recipe asks for: {listed(missing)}; train them with "
            f"giseg train {run.recipe} --out {run.path} --resume"
        )
    return tuple(RunDir.open(fold_folder(run, fold)) for fold in folds)


def members_of(run: RunDir) -> tuple[Member, ...]:
    """The members of an ensemble, or the run of several folds itself; empty for a run of one network.

    Raises:
        RunError: if a member or a fold is missing, or ``ensemble.json`` is damaged.
    """
    if folds_of(run):
        return (Member(run, run.path.resolve().name, 1.0, networks_of(run)),)
    if not is_ensemble(run):
        return ()
    file = run.path / ENSEMBLE
    content = read_table(file)
    if content.get("format") != FORMAT:
        raise RunError(f"{file} is of format {content.get('format', 'none')}, and this gisegkit reads format {FORMAT}")
    entries = content.get("members")
    if not isinstance(entries, list) or not entries or not all(map(_is_entry, entries)):
        raise RunError(f"{file} is damaged: its members are not tables of run, weight and digests; restore it")
    return tuple(_member(file, entry) for entry in entries)


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("run"), str):
        return False
    weight, digests = entry.get("weight"), entry.get("digests")
    number = isinstance(weight, int | float) and not isinstance(weight, bool) and weight > 0
    return number and isinstance(digests, list) and all(isinstance(text, str) for text in digests)


def _member(file: Path, entry: Mapping[str, Any]) -> Member:
    path = file.parent / entry["run"]
    if not (path / "recipe.toml").is_file():
        raise RunError(
            f"{file}: its member {entry['run']} is not there ({os.path.normpath(path)} is not a run folder): it was "
            "moved or deleted; move it back, or make the ensemble again with giseg ensemble"
        )
    run = RunDir.open(path)
    networks, digests = networks_of(run), tuple(entry["digests"])
    if len(networks) != len(digests):
        raise RunError(
            f"{file}: its member {entry['run']} has {len(networks)} networks now and had {len(digests)} when the "
            "ensemble was made; make it again with giseg ensemble"
        )
    return Member(run, entry["run"], float(entry["weight"]), networks, digests)


def as_content(folder: Path, members: Sequence[Member], gate: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What ``ensemble.json`` in a folder holds.

    Args:
        gate: what it holds of a gate, None without one.
    """
    entries = [
        {
            "run": Path(os.path.relpath(member.run.path.resolve(), folder.resolve())).as_posix(),
            "weight": member.weight,
            "digests": list(member.digests),
        }
        for member in members
    ]
    return {"format": FORMAT, "members": entries, "gate": gate}
