"""Folds: which slices train and which validate, with no case on both sides; drawn once, then read again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.draw_folds import by_size, stratified, stratified_groups
from gisegkit.errors import DataError, RunError, count, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from gisegkit.types import AnyArray, BoolArray

    Rows = NDArray[np.int64]

BOTH = "train+validation"
"""The part of a slice that trains and validates, as all do where ``split.folds = 1``."""
ROLES = ("extra", "test")
"""The parts of slices from datasets of these roles: an extra one trains, one for tests does not."""
LEFT_OUT = "left out"
"""The part of a slice that ``on_bad = "skip"`` leaves out."""
PARTS = ("train", "validation", BOTH, "unlabelled", "unused", LEFT_OUT, *ROLES)
"""What ``split.csv`` may say of a slice; an unused one is labelled, but left out by ``split.subset``."""

FOLD = "fold"
"""What the parts of slices begin with in a run of several folds; then comes the fold in which they validate."""

COLUMNS = {"case": "case", "scan": "scan", "slice": "id"}
"""The table's column for each value of ``[split] group``."""


def assign_folds(table: pd.DataFrame, *, folds: int, group: str, stratify: str, seed: int) -> Rows:
    """The fold of every slice.

    Args:
        table: a dataset's table, N rows.
        folds: number of folds; with 1 every labelled slice is in fold 0.
        group: what stays together in one fold: all slices of a ``case``, of a ``scan``, or each ``slice`` by itself.
        stratify: ``empty`` keeps the share of empty slices alike in all folds, as far as groups allow; with fewer
            empty (or non-empty) slices than folds there is nothing to keep. ``none`` looks at sizes alone.
        seed: another seed gives other folds.

    Returns:
        ``[N]`` int64 from 0 to folds - 1; -1 where a slice is not labelled.

    Raises:
        DataError: if there are fewer groups than folds.
    """
    labelled = table["labelled"].to_numpy(dtype=bool)
    assigned = np.full(len(table), -1, dtype=np.int64)
    if folds == 1:
        assigned[labelled] = 0
        return assigned
    codes = np.unique(table[COLUMNS[group]].to_numpy(dtype=str)[labelled], return_inverse=True)[1]
    groups = int(codes.max()) + 1 if len(codes) else 0
    if groups < folds:
        raise DataError(
            f"{folds} folds need at least {folds} {group}s, but the labelled slices have {groups} "
            f"(split.group = {group!r}): {_remedy(group, groups)}"
        )
    empty = table["empty"].to_numpy(dtype=bool)[labelled]
    assigned[labelled] = _assign(codes, empty, folds, stratify == "empty", seed)
    return assigned


def _remedy(group: str, groups: int) -> str:
    """What a recipe can say if there are fewer groups than folds."""
    fewer = f"set split.folds = {groups}, " if groups > 1 else ""
    finer = "a finer split.group (which lets slices of one case train and validate), " if group != "slice" else ""
    return f"{fewer}{finer}or split.folds = 1, which trains and validates on all"


def _assign(codes: Rows, empty: BoolArray, folds: int, stratify: bool, seed: int) -> Rows:
    """Folds of labelled slices, ``[N]``, from their groups numbered from 0."""
    if stratify and min(int(empty.sum()), int((~empty).sum())) >= folds:
        if len(np.unique(codes)) == len(codes):  # single slices need no search over groups, which is slow
            return stratified(empty, folds=folds, seed=seed)
        assigned = stratified_groups(codes, empty, folds=folds, seed=seed)
        if len(np.unique(assigned)) == folds:  # the search may leave a fold without a group where groups are few
            return assigned
    renamed = np.random.default_rng(seed).permutation(int(codes.max()) + 1)[codes]  # breaks ties of equal size
    return by_size(renamed, folds=folds)


def split_rows(
    table: pd.DataFrame, *, folds: int, fold: int, group: str, stratify: str, subset: str, seed: int
) -> tuple[Rows, Rows]:
    """The rows that train and the rows that validate.

    Args:
        table: a dataset's table.
        folds: number of folds; 1 trains and validates on every labelled slice.
        fold: the one that validates, from 0.
        group: as of ``assign_folds``.
        stratify: as of ``assign_folds``.
        subset: training rows: ``all``, or only the ``annotated`` ones (not empty). All rows of the fold validate.
        seed: as of ``assign_folds``.

    Returns:
        Row numbers in rising order, two int64 arrays.

    Raises:
        DataError: if there are fewer groups than folds, or no such fold.
    """
    if not 0 <= fold < folds:
        raise DataError(f"split.fold = {fold}: with split.folds = {folds}, folds are numbered 0 to {folds - 1}")
    assigned = assign_folds(table, folds=folds, group=group, stratify=stratify, seed=seed)
    return rows_of_fold(table, assigned, folds=folds, fold=fold, subset=subset)


def rows_of_fold(table: pd.DataFrame, assigned: Rows, *, folds: int, fold: int, subset: str) -> tuple[Rows, Rows]:
    """The rows that train and the rows that validate where the folds are drawn already.

    Args:
        assigned: as ``assign_folds`` gives it.
        folds, fold, subset: as of ``split_rows``.

    Returns:
        Row numbers in rising order, two int64 arrays.
    """
    train = assigned >= 0 if folds == 1 else (assigned >= 0) & (assigned != fold)
    if subset == "annotated":
        train = train & ~table["empty"].to_numpy(dtype=bool)
    return np.flatnonzero(train), np.flatnonzero(assigned == fold)


# --- a split that was drawn before ----------------------------------------------------------------------------------


def split_table(
    table: pd.DataFrame,
    train: Rows,
    validation: Rows,
    *,
    roles: AnyArray | None = None,
    digests: Mapping[str, str] | None = None,
    left_out: Sequence[str] = (),
) -> pd.DataFrame:
    """Which slice is in which part: columns id, part and, if asked for, digest, in the order of a dataset's table.

    Args:
        roles: ``[N]``: of each row's dataset; None if there is one dataset.
        digests: of the pixels of slices that were looked at, by id; None for no such column.
        left_out: ids of slices that are not in the table because they are bad.
    """
    import pandas as pd

    part = np.where(table["labelled"].to_numpy(dtype=bool), "unused", "unlabelled").astype(object)
    part[train] = "train"
    part[validation] = "validation"
    part[np.intersect1d(train, validation)] = BOTH
    for role in () if roles is None else ROLES:
        part[(roles == role) & table["labelled"].to_numpy(dtype=bool)] = role
    ids = [*table["id"].astype(str), *left_out]
    made = pd.DataFrame({"id": ids, "part": [*part, *[LEFT_OUT] * len(left_out)]})
    return made if digests is None else made.assign(digest=[digests.get(name, "") for name in ids])


def folds_table(
    table: pd.DataFrame,
    assigned: Rows,
    *,
    roles: AnyArray | None = None,
    digests: Mapping[str, str] | None = None,
    left_out: Sequence[str] = (),
) -> pd.DataFrame:
    """Which slice validates in which fold: as ``split_table``, but the part of a labelled slice is ``fold0`` ...

    Args:
        assigned: as ``assign_folds`` gives it.
        roles, digests, left_out: as of ``split_table``.
    """
    nothing = np.zeros(0, np.int64)
    split = split_table(table, nothing, nothing, roles=roles, digests=digests, left_out=left_out)
    names = np.array([f"{FOLD}{fold}" for fold in assigned] + [""] * len(left_out), dtype=object)
    folds = np.append(assigned, np.full(len(left_out), -1))
    return split.assign(part=np.where(folds >= 0, names, split["part"].to_numpy(dtype=object)))


def assigned_folds(table: pd.DataFrame, split: pd.DataFrame) -> Rows:
    """The fold of every row as ``folds_table`` noted it, -1 where it has none.

    Raises:
        RunError: as of ``rows_of_split``.
    """
    rows_of_split(table, split)
    parts = dict(zip(split["id"], split["part"], strict=True))
    texts = [parts[name] for name in table["id"].astype(str)]
    return np.array([int(text.removeprefix(FOLD)) if is_fold(text) else -1 for text in texts], dtype=np.int64)


def is_fold(part: str) -> bool:
    """Whether a part of ``split.csv`` is a fold: it is that of a run of several folds."""
    return part.startswith(FOLD) and part.removeprefix(FOLD).isdecimal()


def split_digest(split: pd.DataFrame) -> str:
    """A digest of which slice is in which part and what is noted of its pixels; the order of rows does not count."""
    columns = [split[name].astype(str) for name in ("id", "part", "digest", "pixels") if name in split.columns]
    pairs = sorted(zip(*columns, strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def rows_of_split(table: pd.DataFrame, split: pd.DataFrame) -> tuple[Rows, Rows]:
    """The rows that train and that validate, as an earlier split says; no fold is drawn.

    Args:
        table: a dataset's table.
        split: columns id and part, as ``split_table`` makes it.

    Returns:
        Row numbers in rising order, two int64 arrays.

    Raises:
        RunError: if the slices are not those of the split, or are labelled where the split has them unlabelled, or the
            reverse; names the ids and the ways out.
    """
    ids = table["id"].astype(str).to_numpy(dtype=object)
    parts = {name: part for name, part in zip(split["id"], split["part"], strict=True) if part != LEFT_OUT}
    here = set(ids)
    found = np.array([parts.get(name, "") for name in ids], dtype=object)
    labelled = table["labelled"].to_numpy(dtype=bool)
    differences = {
        "not in split.csv": ids[found == ""],
        "in split.csv, but not in the data": [name for name in parts if name not in here],
        "labelled now, but not when the run began": ids[labelled & (found == "unlabelled")],
        "labelled when the run began, but not now": ids[~labelled & (found != "unlabelled") & (found != "")],
    }
    lines = [
        f"{count(len(names), 'slice is', 'slices are')} {what}: {listed(names)}"
        for what, names in differences.items()
        if len(names)
    ]
    if lines:
        raise RunError(
            "the data are not those that the run began with, so it cannot be resumed: its parts are in split.csv, "
            "and slices that validated must not train\n  "
            + "\n  ".join(lines)
            + "\nRestore the data, or start a new run with another --out; --set train.init_from=RUN starts it from "
            "this run's best weights (then the scores of cases that this run trained on mean nothing)"
        )
    trains, validates = (np.isin(found, parts) for parts in (("train", BOTH, "extra"), ("validation", BOTH)))
    return np.flatnonzero(trains), np.flatnonzero(validates)


def refuse_changes(split: pd.DataFrame, *, digests: Mapping[str, str], pixels: Mapping[str, str]) -> None:
    """Check that slices and their masks are what they were when a run began.

    Args:
        split: columns id, part, digest and pixels; what older runs have not noted is not checked.
        digests: of the pixels of slices of today, by id.
        pixels: of each class of their masks, as ``RunData.true_pixels`` has them, by id.

    Raises:
        RunError: if an image is another one, or a mask has other numbers of pixels; names the slices.
    """
    found = {
        "the same name and another image than when it began": changed_images(split, digests),
        "another mask than when it began (the number of pixels of a class differs)": _changed(split, "pixels", pixels),
    }
    told = [
        f"{count(len(names), 'slice has', 'slices have')} {what}: {listed(names)}"
        for what, names in found.items()
        if names
    ]
    if told:
        raise RunError(
            f"the data are not those that the run began with, so it cannot be resumed: {'; '.join(told)}\n"
            "Restore the data, or start a new run with another --out"
        )


def changed_images(split: pd.DataFrame, digests: Mapping[str, str]) -> list[str]:
    """Ids whose pixels are others than those that a split has noted; arguments as of ``refuse_changes``."""
    return _changed(split, "digest", digests)


def _changed(split: pd.DataFrame, column: str, now: Mapping[str, str]) -> list[str]:
    """Ids of which a split has noted something else; none if it has no such column."""
    noted = zip(split["id"], split[column].astype(str), strict=True) if column in split.columns else ()
    return [name for name, before in noted if before and now.get(name, before) != before]
