"""Room for the prepared store: what slices will take, what is there already, and what killed builds have left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.data.store.shards import ALIGN, Content
from gisegkit.errors import DataError
from gisegkit.machine import show_size

if TYPE_CHECKING:
    import pandas as pd

RESERVE = 1 << 30
"""Bytes of the disk that are left free."""

INDEX = 1 << 10
"""Bytes that a slice's part of its shard's index takes, and more than most need."""

LEFT_BEHIND = 3600.0
"""Seconds without a change after which an unfinished file is a killed build's. Whether its process lives cannot be
asked: it may be another machine's that shares the folder."""

DO_WITHOUT = "or do without: --set input.store=off"


def needed(first: Content, table: pd.DataFrame, *, size: tuple[int, int] | None, classes: int, may_ignore: bool) -> int:
    """Bytes on the disk that slices take at most, if all are of one type and as many channels.

    Args:
        first: what is kept of one of them.
        table: their rows of the dataset's table.
        size: height and width in pixels at which they are kept; None for native.
        classes: of the masks.
        may_ignore: whether masks may hold IGNORE, which takes a second bit for each pixel and class.
    """
    native = (table["height"] * table["width"]).to_numpy(dtype=np.int64)
    kept = native if size is None else np.full(len(table), size[0] * size[1])
    masks = -(-native // 8) + (0 if size is None else -(-kept // 8))
    bits = masks[table["labelled"].to_numpy(dtype=bool)].sum() * classes * (1 + may_ignore)
    return int(kept.sum() * first.image.shape[2] * first.image.itemsize + bits + len(table) * (3 * ALIGN + INDEX))


def used(folder: Path, *, without: Collection[str] = ()) -> int:
    """Bytes of all files under a folder, but for those of the shards by these names."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            if re.split("[-.]", file.removeprefix("."))[0] not in without:
                with contextlib.suppress(OSError):  # removed in the meantime
                    total += os.stat(os.path.join(place, file)).st_size
    return total


def check_room(folder: Path, need: int, *, slices: int, limit: int | None, replaced: Collection[str]) -> None:
    """Refuse to begin what cannot end.

    Args:
        folder: of the shards, in that of the dataset.
        need: bytes that the slices to come take at most.
        slices: how many these are.
        limit: bytes that all that is under the dataset's folder may take; None for what the disk has free.
        replaced: shards that are made anew: their files do not count.

    Raises:
        DataError: if the disk has too little room, of which 1 GiB stays free, or the limit is passed.
        OSError: if the folder is not there.
    """
    free = max(shutil.disk_usage(folder).free - RESERVE, 0)
    if need > free:
        raise DataError(
            f"{folder}: {slices} slices need up to {show_size(need)}, and the disk has {show_size(free)} free besides "
            f"the {show_size(RESERVE)} that are left alone; make room, let $GISEG_CACHE name a folder on a larger "
            f"disk, {DO_WITHOUT}"
        )
    if limit is None:
        return
    there = used(folder.parent, without=replaced)
    if there + need > limit:
        raise DataError(
            f"{folder.parent}: {slices} slices need up to {show_size(need)}, and {show_size(there)} lie there already, "
            f"together more than input.store_limit = {show_size(limit)}; raise it, remove the folder (what is wanted "
            f"of it is made again), {DO_WITHOUT}"
        )


def remove_left_behind(folder: Path) -> None:
    """Remove what killed builds left unfinished in any layout's folder of a dataset's."""
    for part in folder.glob("*/.*.part"):
        with contextlib.suppress(OSError):  # another build was faster, or may what this one may not
            if time.time() - part.stat().st_mtime > LEFT_BEHIND:
                part.unlink()
