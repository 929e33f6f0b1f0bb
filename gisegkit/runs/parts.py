"""Which slices of a run are scored or predicted, called what they are, and how many of them should be there.

The parts are those of the run's ``split.csv``; today's data may hold fewer slices, or more, or others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.folds import changed_images
from gisegkit.errors import DataError, RunError, count, listed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gisegkit.types import BoolArray

VALIDATION = ("validation", "train+validation")
"""Parts of ``split.csv`` whose slices choose the best epoch."""

OUT_OF_FOLD = "out-of-fold"
"""What slices are called that are scored by networks that have not seen them, though others of the run have."""

TRAINED = ("train", "train+validation", "extra")
"""Parts whose slices the weights were trained on."""


@dataclass(frozen=True)
class Part:
    """Slices of today's data that are scored or predicted.

    Attributes:
        name: the part of ``split.csv`` that all of them belong to; ``all labelled`` if there is no such part.
        rows: ``[N]`` of the dataset's table, in rising order.
        expected: slices that the part has in ``split.csv``; N where the part is not one of it.
        missing: ids of expected slices that are not in the data, or have no labels there.
        trained: how many of the N slices the run was trained on.
        unknown: labelled slices of the data that the split does not know, and that are left out.
        validation: slices that the run validates on, wherever they are.
        instead: whether these are taken because none of the validation slices is here.
        left_out: labelled slices of the data that no network of some member validated on.
        changed: ids of slices that have another image than when the run began.
        foreign: whether most have, so that these are other data under the same names.
        who: whose networks these are, in messages.
    """

    name: str
    rows: NDArray[np.int64]
    expected: int
    missing: tuple[str, ...] = ()
    trained: int = 0
    unknown: tuple[str, ...] = ()
    validation: int = 0
    instead: bool = False
    left_out: int = 0
    changed: tuple[str, ...] = ()
    foreign: bool = False
    who: str = "a member"

    @property
    def whole(self) -> bool:
        """Whether these are all the slices that were asked for, as the run knows them."""
        return not self.missing and not self.instead and not self.changed

    def lines(self) -> Iterator[str]:
        """What a reader of scores or predictions of these slices must know, a sentence each."""
        taken = len(self.rows)
        if self.foreign:
            yield (
                f"these are other data under the same names: {count(len(self.changed), 'slice has', 'slices have')} "
                f"another image than in the run ({listed(self.changed, shown=3)}); taking all "
                f"{count(taken, 'labelled slice')}"
            )
        elif self.changed:
            yield (
                f"{count(len(self.changed), 'slice has', 'slices have')} another image than when the run began: "
                f"{listed(self.changed)}"
            )
        if self.instead and not self.foreign:
            yield (
                f"none of the run's {count(self.validation, 'validation slice')} is in these data; taking all "
                f"{count(taken, 'labelled slice')} instead"
            )
        if self.missing:
            yield (
                f"only {taken} of the run's {count(self.expected, f'{self.name} slice')} are in these data with "
                f"labels, and only these are taken; missing: {listed(self.missing)}"
            )
        if self.unknown:
            yield (
                f"{count(len(self.unknown), 'labelled slice')} of these data are not in the run's split.csv and are "
                f"left out: {listed(self.unknown)}"
            )
        if self.left_out:
            yield (
                f"{count(self.left_out, 'labelled slice')} of these data are not taken, because {self.who} has no "
                "network that validated on them: they trained its networks, or its run left them out"
            )
        if self.trained:
            yield f"{self.trained} of these {count(taken, 'slice')} were trained on, so scores of them are too good"


def scored_part(split: pd.DataFrame, table: pd.DataFrame) -> Part:
    """The run's validation slices that are here; all labelled ones where none of them is.

    Args:
        split: the run's ``split.csv``: columns id and part.
        table: of the dataset as it is today.

    Raises:
        DataError: if nothing is labelled.
    """
    labelled = table["labelled"].to_numpy(dtype=bool)
    if not labelled.any():
        raise DataError("these data have no labels, so there is nothing to score; use giseg predict")
    parts = dict(zip(split["id"], split["part"], strict=True))
    ids = table["id"].astype(str).tolist()
    own = [parts.get(name, "") for name in ids]
    wanted = [name for name, part in parts.items() if part in VALIDATION]
    chosen = np.flatnonzero(labelled & _among(own, VALIDATION))
    if len(chosen):
        here = {ids[row] for row in chosen}
        missing = tuple(name for name in wanted if name not in here)
        unknown = tuple(ids[row] for row in np.flatnonzero(labelled & _among(own, ("",))))
        name = own[chosen[0]]
        trained = int(_among(own, TRAINED)[chosen].sum())
        return Part(name, chosen, len(wanted), missing, trained, unknown, len(wanted))
    rows = np.flatnonzero(labelled)
    trained = int(_among(own, TRAINED)[rows].sum())
    name = "train" if trained == len(rows) else "all labelled"
    return Part(name, rows, len(rows), trained=trained, validation=len(wanted), instead=True)


def identified(part: Part, split: pd.DataFrame, table: pd.DataFrame, digests: Mapping[str, str]) -> Part:
    """A part, once its images are known: which of them the run knows, under whatever names.

    Where most of a part of ``split.csv`` has other images, these are other data: all labelled slices are taken. Images
    that the run was trained on count as such under any name.

    Args:
        part: as of ``scored_part``, ``part_for_tests`` or ``named_part``.
        split, table: as of ``scored_part``; without the column digest, which older runs do not have, nothing changes.
        digests: of the pixels of today's slices by id, as far as they were looked at; images that show nothing left
            out.
    """
    if "digest" not in split.columns:
        return part
    ids = table["id"].astype(str).to_numpy(dtype=object)
    here = {name: digests[name] for name in ids[part.rows] if name in digests}
    changed = tuple(changed_images(split, here))
    noted = set(split["id"][split["digest"] != ""])
    if changed and 2 * len(changed) > len(noted & here.keys()) and part.name in VALIDATION:
        rows = np.flatnonzero(table["labelled"].to_numpy(dtype=bool))
        part = Part("all labelled", rows, len(rows), validation=part.validation, instead=True, foreign=True)
    trained = split[split["part"].isin(TRAINED)]
    known = dict(zip(trained["id"], trained["digest"], strict=True))
    seen = set(known.values()) - {""}
    again = [digests.get(name, "") in seen or _unchanged(name, known, digests) for name in ids[part.rows]]
    return replace(part, changed=changed, trained=sum(again))


def _unchanged(name: str, known: Mapping[str, str], digests: Mapping[str, str]) -> bool:
    """Whether a slice was trained on by its name, and nothing says that it is another one."""
    return name in known and "" in (known[name], digests.get(name, ""))


def part_for_tests(split: pd.DataFrame, table: pd.DataFrame, rows: NDArray[np.int64]) -> Part:
    """Those of the labelled rows of test datasets that are the run's test slices; all, if it was made without any.

    Args:
        split, table: as of ``scored_part``.
    """
    parts = dict(zip(split["id"], split["part"], strict=True))
    wanted = [name for name, part in parts.items() if part == "test"]
    ids = table["id"].astype(str).to_numpy(dtype=object)
    trained = int(_among([parts.get(name, "") for name in ids[rows]], TRAINED).sum())
    if not wanted:
        return Part("test", rows, len(rows), trained=trained)
    own = _among([parts.get(name, "") for name in ids[rows]], ("test",))
    here = set(ids[rows[own]])
    missing = tuple(name for name in wanted if name not in here)
    return Part("test", rows[own], len(wanted), missing, unknown=tuple(ids[rows[~own]].tolist()))


def _among(parts: list[str], wanted: Collection[str]) -> BoolArray:
    return np.array([part in wanted for part in parts], dtype=bool)


def named_part(split: pd.DataFrame, table: pd.DataFrame, name: str, rows: NDArray[np.int64]) -> Part:
    """Rows of today's data that are no part of the split, such as the unlabelled ones.

    Args:
        split, table: as of ``scored_part``.
    """
    trained = set(split["id"][split["part"].isin(TRAINED)])
    ids = table["id"].astype(str).iloc[rows]
    return Part(name, rows, len(rows), trained=int(ids.isin(trained).sum()))


# --- several networks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What the networks of a member of an ensemble know of slices, by id.

    Attributes:
        validated: slices that one network has not trained on, though their labels were known to its run.
        trained: slices that some network trained on.
        others: the part of every other slice.
    """

    validated: frozenset[str]
    trained: frozenset[str]
    others: dict[str, str]

    @classmethod
    def of(cls, splits: Sequence[pd.DataFrame]) -> Seen:
        """Of the ``split.csv`` of each network."""
        pairs = [(str(name), part) for split in splits for name, part in zip(split["id"], split["part"], strict=True)]
        validated = frozenset(name for name, part in pairs if part == "validation")
        trained = frozenset(name for name, part in pairs if part in TRAINED)
        return cls(validated, trained, {name: part for name, part in pairs if name not in validated | trained})


def joint_parts(members: Sequence[Seen]) -> pd.DataFrame:
    """The part of every slice for an ensemble, columns id and part: ``validation`` where every member holds it out."""
    import pandas as pd

    parts: dict[str, str] = {}
    held = frozenset.intersection(*(member.validated for member in members))
    trained = frozenset().union(*(member.trained for member in members)) - held
    for member in members:
        for name in (*sorted(member.validated), *sorted(member.trained), *member.others):
            part = "validation" if name in held else "train" if name in trained else member.others.get(name, "unused")
            parts.setdefault(name, part)
    return pd.DataFrame({"id": list(parts), "part": list(parts.values())})


def with_digests(joint: pd.DataFrame, splits: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The parts of an ensemble with the digests of pixels that its networks' splits have noted, if any has."""
    digests: dict[str, str] = {}
    for split in splits:
        if "digest" in split.columns:
            noted = split[split["digest"] != ""]
            digests |= dict(zip(noted["id"].astype(str), noted["digest"], strict=True))
    return joint.assign(digest=[digests.get(name, "") for name in joint["id"]]) if digests else joint


def held_out_part(part: Part, split: pd.DataFrame, table: pd.DataFrame, run: str) -> Part:
    """A part as several networks score it: only slices that one of each member's networks has not seen.

    Args:
        part: as ``scored_part`` gives it.
        split, table: as of ``scored_part``.
        run: the ensemble, for messages.

    Raises:
        RunError: if the networks trained on slices of these data, and on each that is labelled.
    """
    if part.trained:
        raise RunError(
            f"{run}: {part.trained} of the {count(len(part.rows), 'labelled slice')} of these data trained every "
            f"network of {part.who}, and none is left that each has a network for which has not seen it; such scores "
            "would mean nothing. Members that validate on the same fold, and runs of all folds, can be scored"
        )
    if part.instead:
        return part
    others = set(split["id"][split["part"] != "validation"])
    labelled = table["labelled"].to_numpy(dtype=bool)
    left = int(table["id"].astype(str)[labelled].isin(others).sum())
    return replace(part, name=OUT_OF_FOLD, left_out=left)
