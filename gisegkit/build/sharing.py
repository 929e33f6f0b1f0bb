"""Slices that several processes predict for process 0, which gets them in order, one at a time."""

from __future__ import annotations

import pickle
import tempfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.build.alike import refuse_other_predicted
from gisegkit.build.tasks import Task, ask
from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter
from gisegkit.engine.decision import DecidedSlice
from gisegkit.engine.scan_shares import Share, in_turns
from gisegkit.engine.world import World
from gisegkit.errors import RunError
from gisegkit.types import silent

if TYPE_CHECKING:
    from gisegkit.build.data import Rows
    from gisegkit.build.experiment import Experiment
    from gisegkit.types import AnyArray

IN_MEMORY = 1 << 28
"""Bytes of predicted slices that wait in memory until process 0 takes them; more are kept in a temporary file."""


def slices_together(
    experiment: Experiment, rows: Rows, *, label: str, probabilities: bool = False, chosen: frozenset[int] = frozenset()
) -> Generator[DecidedSlice]:
    """The rows predicted and decided slice by slice, in order; of several processes each predicts some scans.

    Args:
        label: of the progress, which is that of process 0.
        probabilities: whether each slice brings its probabilities with its masks.
        chosen: rows whose slices bring their truth; others may.
    """
    world, progress = experiment.console.world, experiment.console.progress
    if world.size == 1 or not experiment.shares(rows):
        return experiment.slices(rows, label=label, progress=progress, probabilities=probabilities)
    share = in_turns(len(rows), processes=world.size, batch_size=experiment.batch_size)
    ask(experiment, "slices", rows=rows, share=share, probabilities=probabilities, chosen=chosen)
    refuse_other_predicted(experiment, rows)
    own = experiment.slices(rows, label=label, progress=progress, probabilities=probabilities, share=share)
    return _gathered(own, share.turns(names_of(experiment, rows)), world)


def names_of(experiment: Experiment, rows: Rows) -> AnyArray:
    """The scan of each slice ``[N]``, in the order of prediction."""
    names: AnyArray = experiment.dataset.table["scan"].to_numpy()[np.sort(rows)]
    return names


def rows_of(experiment: Experiment, rows: Rows, share: Share) -> Rows:
    """Those of the rows that a share predicts."""
    own: Rows = np.sort(rows)[share.own(names_of(experiment, rows))]
    return own


def _gathered(own: Generator[DecidedSlice], turns: list[range], world: World) -> Generator[DecidedSlice]:
    """Turn by turn: those of process 0 are predicted here, the others are taken from whoever predicts them."""
    with closing(own):
        for number, turn in enumerate(turns):
            source = number % world.size
            for _ in turn:
                yield unpacked(world.take(source)) if source else next(own)


def give_slices(experiment: Experiment, task: Task) -> None:
    """What another process does: predict each of its turns, and then give it to process 0.

    Raises:
        RunError: if the temporary folder has no room.
    """
    rows, world = task.rows, experiment.console.world
    assert rows is not None
    share = task.share._replace(number=world.rank)
    found = experiment.slices(rows, label="", progress=silent, probabilities=task.probabilities, share=share)
    with closing(found):
        for turn in share.own_turns(names_of(experiment, rows)):
            for message in _waiting(found, len(turn), task.chosen):
                world.give(message)


def _waiting(found: Iterator[DecidedSlice], count: int, chosen: frozenset[int]) -> Iterator[bytes]:
    """So many slices as messages, the first of which comes when all are predicted."""
    sizes = []
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        for _ in range(count):
            message = packed(next(found), chosen)
            with _room():
                sizes.append(spool.write(message))
        with _room():
            spool.seek(0)
        for size in sizes:
            with _room():
                message = spool.read(size)
            yield message


@contextmanager
def _room() -> Iterator[None]:
    """An error of the temporary folder is told with the remedy."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"predicted slices cannot wait in {tempfile.gettempdir()} until process 0 takes them ({error}); free space "
            "there, or name another folder in TMPDIR"
        ) from error


def packed(item: DecidedSlice, chosen: frozenset[int]) -> bytes:
    """A slice as a message; with its truth if it is one of the chosen."""
    masks = zlib.compress(np.packbits(item.prediction).tobytes(), 1)
    truth = item.truth if item.row in chosen else None
    return pickle.dumps((item.scan, item.row, item.prediction.shape, masks, truth, item.probabilities), protocol=5)


def unpacked(message: bytes) -> DecidedSlice:
    """The slice of a message that another process of this run has ``packed``."""
    scan, row, shape, masks, truth, probabilities = pickle.loads(message)
    bits = np.frombuffer(zlib.decompress(masks), np.uint8)
    prediction = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).view(bool)
    return DecidedSlice(scan, row, prediction, truth, probabilities)


# --- probabilities that are kept ------------------------------------------------------------------------------------


def take_kept(world: World, writer: ProbabilityWriter) -> None:
    """Write what the other processes keep for process 0 behind its own; slice by slice."""
    for source in range(1, world.size):
        while (message := world.take(source)) != b"":
            kind, *what = pickle.loads(zlib.decompress(message))
            if kind == "scan":
                name, depth, size = what
                writer.begin(name, depth=depth, size=size)
            else:
                writer.write_bytes(*what)


def give_kept(world: World, file: Path) -> None:
    """Give process 0 what was kept for it."""

    def give(*what: Any) -> None:
        world.give(zlib.compress(pickle.dumps(what, protocol=5), 1))

    with ProbabilityReader(file) as reader:
        for name, ids in reader.scans.items():
            for number, (slice_id, values) in enumerate(reader.slices(name)):
                if not number:
                    give("scan", name, len(ids), values.shape[:2])
                give("slice", slice_id, np.ascontiguousarray(values))
    world.give(b"")


def own_share(world: World) -> Share:
    """The share of this process where nothing is taken in the scans' order."""
    return Share(world.rank, world.size)
