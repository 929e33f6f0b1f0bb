"""Several processes compute one result only from the same code and the same slices: each compares its own with others.

Every function here is called by all processes at the same point, and raises the same error in each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gisegkit.build.doctor import see
from gisegkit.engine.world import World
from gisegkit.errors import DataError, TrainingError, count
from gisegkit.plugins import Plugins
from gisegkit.runs.environment import PACKAGES, version_of

if TYPE_CHECKING:
    from gisegkit.build.data import ExperimentData, Rows

REMEDY = (
    "all machines must see the same files, in the same state, under the same path: copy the data there again, or keep "
    "them on a disk that all machines share"
)


def refuse_other_versions(world: World, plugins: Plugins) -> None:
    """Check that all processes run the same versions of gisegkit, of what it computes with, and of the plugins.

    Raises:
        TrainingError: if not; names the process, the package and both versions.
    """
    if world.size == 1:
        return
    own = {name: version_of(name) or "" for name in PACKAGES}
    own |= {owner.distribution: owner.version for owner in plugins.owners}
    own |= {failure.owner.distribution: f"that fails ({failure.cause})" for failure in plugins.failures}
    first, *others = world.collect([own])
    for rank, versions in enumerate(others, start=1):
        if versions == first:
            continue
        names = [name for name in {**first, **versions} if first.get(name, "") != versions.get(name, "")]
        lines = [f"{_version(name, versions)} and process 0 {_version(name, first)}" for name in names]
        raise TrainingError(
            f"process {rank} has {'; '.join(lines)}: install the same versions on all machines, and let GISEG_PLUGINS "
            "be the same"
        )


def _version(name: str, versions: dict[str, str]) -> str:
    return f"{name} {versions[name]}" if versions.get(name) else f"no {name}"


def refuse_other_slices(data: ExperimentData, rows: Rows) -> None:
    """Check that this process sees the same pixels and the same masks in these rows as process 0.

    What is compared are the facts of prepared slices, which were taken when they were decoded. Slices that are not
    prepared are read once.

    Args:
        rows: that this process computes from; of process 0 those of all processes.

    Raises:
        DataError: if a process sees something else; names it, the slice and the remedy.
    """
    world = data.console.world
    if world.size == 1:
        return
    ids = data.dataset.table["id"].astype(str).tolist()
    own = dict(zip([ids[row] for row in rows.tolist()], _slices(data, rows), strict=True))
    whole = hashlib.sha256(repr(own).encode()).hexdigest()
    if len(set(world.collect([whole]))) == 1:
        return
    if told := difference(world.collect([own])):
        raise DataError(told)


def refuse_other_predicted(data: ExperimentData, rows: Rows) -> None:
    """As ``refuse_other_slices``, for slices that are predicted, which usually are not prepared.

    Processes of one machine read the same files. There nothing is read once more to compare it: beside a GPU that
    would take longer than predicting.
    """
    if not data.console.world.one_machine:
        refuse_other_slices(data, rows)


Seen = tuple[str, str]
"""What a process sees of a slice: a digest of its image, and one of its mask."""


def difference(seen: Sequence[Mapping[str, Seen]]) -> str:
    """In words, what the first process that sees other slices than process 0 sees; empty if there is none.

    Args:
        seen: of each process, some slices by id; of process 0 all of them.
    """
    found = ((rank, [name for name in one if one[name] != seen[0][name]]) for rank, one in enumerate(seen))
    rank, names = next(((rank, names) for rank, names in found if names), (0, []))
    if not names:
        return ""
    name, first, other = names[0], seen[0][names[0]], seen[rank][names[0]]
    what = "pixels" if first[0] != other[0] else "masks"
    if other[0].startswith(UNREAD):
        return f"process {rank} cannot read {name}: {other[0].removeprefix(UNREAD)}: {REMEDY}"
    number = count(len(names), "slice")
    return f"process {rank} sees other {what} than process 0 in {name}, the first of {number} that differ: {REMEDY}"


UNREAD = "unread "


def _slices(data: ExperimentData, rows: Rows) -> list[Seen]:
    """Image and mask of each row as digests; of one that cannot be read here, what is wrong."""
    problems = {name: UNREAD + finding.what for finding in see(data, rows) for name in finding.ids}
    ids = data.dataset.table["id"].astype(str).tolist()
    found: list[Seen] = []
    for row in rows.tolist():
        facts = data.seen.get(ids[row])
        if facts is None or ids[row] in problems:
            found.append((problems.get(ids[row], UNREAD), ""))
        else:
            found.append((facts.digest, f"{facts.truth} {facts.pixels}"))
    return found
