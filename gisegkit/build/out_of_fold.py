"""Slices that validated, each predicted by the networks that have not seen it; read from where that is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gisegkit.build.alike import refuse_other_slices
from gisegkit.build.sharing import take_kept
from gisegkit.build.tasks import ask_one
from gisegkit.data.probability_file import ProbabilityReader
from gisegkit.engine.stored import Stored, stored_scans
from gisegkit.runs.kept import NAME, kept
from gisegkit.types import Progress

if TYPE_CHECKING:
    from gisegkit.build.data import Rows
    from gisegkit.build.ensemble import Ensemble
    from gisegkit.build.networks import Network
    from gisegkit.engine.predictor import ScanProbabilities


def out_of_fold(whole: Ensemble, rows: Rows, *, label: str, progress: Progress) -> Generator[ScanProbabilities]:
    """The weighted mean over the members, scan by scan, from the bytes that are kept."""
    with ExitStack() as stack:
        runs = stored(whole, rows, stack, progress=progress)
        threads = whole.device.threads
        with closing(stored_scans(runs, rows, threads=threads, progress=progress, label=label)) as scans:
            yield from scans


def stored(whole: Ensemble, rows: Rows, stack: ExitStack, *, progress: Progress) -> list[Stored]:
    """As of ``Ensemble.stored``."""
    found = []
    for member, networks in zip(whole.members, whole.networks, strict=True):
        files = [_file(whole, one, rows, stack, progress) for one in networks if one.validated & whole.ids_of(rows)]
        order = tuple(files[0].classes.index(name) for name in whole.classes)
        found.append(Stored(tuple(files), networks[0].experiment.source, member.weight, order))
    return found


def _file(whole: Ensemble, one: Network, rows: Rows, stack: ExitStack, progress: Progress) -> ProbabilityReader:
    ids = whole.dataset.table["id"].astype(str).to_numpy(dtype=object)
    wanted = [name for name in ids[rows] if name in one.validated]
    say, folder = whole.console.say, one.run.oof
    reader = kept(folder, weights=one.digest, ids=wanted, say=say) if whole.own else None
    if reader is None:
        if not whole.own:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="giseg-")))
        chosen = np.flatnonzero(np.isin(ids, list(one.validated)) if whole.own else np.isin(ids, wanted))
        labelled = whole.trained_table["labelled"].to_numpy(dtype=bool)
        keep_together(whole, one, chosen[labelled[chosen]], folder, progress=progress)
        reader = ProbabilityReader(folder / NAME)
    return stack.enter_context(reader)


def keep_together(whole: Ensemble, one: Network, rows: Rows, folder: Path, *, progress: Progress) -> None:
    """``Network.keep``; of several processes each predicts some scans."""
    world = whole.console.world
    if world.size == 1:
        one.keep(rows, folder, progress=progress)
        return
    ask_one(whole, one, "keep", rows=rows)
    refuse_other_slices(whole, rows)
    one.keep(rows, folder, progress=progress, then=lambda writer: take_kept(world, writer))
