"""Several processes compute one result only from the same code and the same slices: each compares its own with others.

Every function here is called by all processes at the same point, and raises the same error in each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
    """Check that all processes see the same pixels and the same masks in these rows.

    What is compared are the facts of prepared slices, which were taken when they were decoded. Slices that are not
    prepared are read once, by each process.

    Raises:
        DataError: if not; names the process, the slice and the remedy.
    """
    world = data.console.world
    if world.size == 1:
        return
    own = _slices(data, rows)
    whole = hashlib.sha256(repr(own).encode()).hexdigest()
    if len(set(world.collect([whole]))) == 1:
        return
    ids = data.dataset.table["id"].astype(str).tolist()
    names = [ids[row] for row in rows.tolist()]
    raise DataError(difference(names, world.collect([own])))


Seen = tuple[str, str]
"""What a process sees of a slice: a digest of its image, and one of its mask."""


def difference(names: Sequence[str], seen: Sequence[Sequence[Seen]]) -> str:
    """In words, what the first process that sees other slices than process 0 sees.

    Args:
        names: ids of N slices.
        seen: of each process, the N slices; not all alike.
    """
    rank = next(rank for rank, one in enumerate(seen) if list(one) != list(seen[0]))
    pairs = zip(names, seen[0], seen[rank], strict=True)
    name, first, other = next(pair for pair in pairs if pair[1] != pair[2])
    what = "pixels" if first[0] != other[0] else "masks"
    differing = sum(one != own for one, own in zip(seen[0], seen[rank], strict=True))
    if other[0].startswith(UNREAD):
        return f"process {rank} cannot read {name}: {other[0].removeprefix(UNREAD)}: {REMEDY}"
    return (
        f"process {rank} sees other {what} than process 0 in {name}, the first of {count(differing, 'slice')} that "
        f"differ: {REMEDY}"
    )


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
