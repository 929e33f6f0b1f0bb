"""The gate of an ensemble, as ``ensemble.json`` holds it: a run, pixels by class, and digests of what was meant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gisegkit.errors import RunError
from gisegkit.runs.files import read_table
from gisegkit.runs.folder import ENSEMBLE, RunDir
from gisegkit.runs.members import Member, is_ensemble, members_of, networks_of


@dataclass(frozen=True)
class StoredGate:
    """A run that decides which classes a slice may have.

    Attributes:
        run: its folder, of one network, of several folds, or an ensemble.
        label: what messages call it.
        pixels: by class of the ensemble; the class stays where the gate sees more.
        members: of the run, with the digests of their networks as they were when the ensemble was made.
        decision: stands for the decision of the run and its members' weights in the mean at that time.
    """

    run: RunDir
    label: str
    pixels: Mapping[str, int]
    members: tuple[Member, ...]
    decision: str


def members_of_gate(run: RunDir) -> tuple[Member, ...]:
    """The members of a run that is a gate; a run of one network is its only one.

    Raises:
        RunError: as of ``members_of``, or if it is an ensemble that has a gate itself.
    """
    if is_ensemble(run) and read_table(run.path / ENSEMBLE).get("gate") is not None:
        raise RunError(f"{run.path} has a gate itself and cannot be one; make it again without --gate")
    return members_of(run) or (Member(run, run.path.resolve().name, 1.0, networks_of(run)),)


def gate_of(run: RunDir) -> StoredGate | None:
    """The gate of an ensemble; None for an ensemble without one, and for any other run.

    Raises:
        RunError: if it is missing or damaged.
    """
    if not is_ensemble(run):
        return None
    file = run.path / ENSEMBLE
    entry = read_table(file).get("gate")
    if entry is None:
        return None
    if not _is_entry(entry):
        raise RunError(f"{file} is damaged: its gate is no table of run, pixels, digests and decision; restore it")
    path = file.parent / entry["run"]
    if not (path / "recipe.toml").is_file():
        raise RunError(
            f"{file}: its gate {entry['run']} is not there ({os.path.normpath(path)} is not a run folder): it was "
            "moved or deleted; move it back, or make the ensemble again with giseg ensemble"
        )
    gate = RunDir.open(path)
    members, digests = members_of_gate(gate), list(entry["digests"])
    if sum(len(member.networks) for member in members) != len(digests):
        raise RunError(
            f"{file}: its gate {entry['run']} had {len(digests)} networks when the ensemble was made, and has another "
            "number now; make it again with giseg ensemble"
        )
    meant = []
    for member in members:
        own, digests = tuple(digests[: len(member.networks)]), digests[len(member.networks) :]
        meant.append(Member(member.run, f"the gate {member.label}", member.weight, member.networks, own))
    return StoredGate(gate, entry["run"], entry["pixels"], tuple(meant), entry["decision"])


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("run", "decision")):
        return False
    pixels, digests = entry.get("pixels"), entry.get("digests")
    numbers = isinstance(pixels, dict) and all(type(number) is int and number >= 0 for number in pixels.values())
    return numbers and isinstance(digests, list) and all(isinstance(text, str) for text in digests)


def as_entry(folder: Path, gate: StoredGate) -> dict[str, Any]:
    """What ``ensemble.json`` in a folder holds of a gate."""
    return {
        "run": Path(os.path.relpath(gate.run.path.resolve(), folder.resolve())).as_posix(),
        "pixels": dict(gate.pixels),
        "digests": [digest for member in gate.members for digest in member.digests],
        "decision": gate.decision,
    }
