"""Probabilities of a run's validation slices, kept beside its weights: ``oof/probabilities.npz``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from gisegkit.data.output import Output, changed_since, read_manifest
from gisegkit.data.probability_file import ProbabilityReader, ProbabilityWriter

NAME = "probabilities.npz"


class Predicts(Protocol):
    """What is asked of whoever predicts."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def exclusive(self) -> bool: ...


@contextmanager
def keeping(folder: Path, predicts: Predicts, **facts: Any) -> Iterator[ProbabilityWriter]:
    """A writer of the file in a folder; it takes its place, with ``files.json``, if no error ends the context.

    Args:
        predicts: knows the classes.
        facts: what ``files.json`` says besides, such as the digest of the weights.
    """
    with Output(folder) as files:
        with (
            files.path(NAME) as path,
            ProbabilityWriter(path, classes=predicts.classes, exclusive=predicts.exclusive) as writer,
        ):
            yield writer
        files.finish(**facts)


def kept(folder: Path, *, weights: str, ids: Collection[str], say: Callable[[str], None]) -> ProbabilityReader | None:
    """The file in a folder, open; None if it is missing, or of other weights or slices.

    Args:
        weights: the digest of the weights that predict now.
        ids: slices that it must hold.
        say: told why a file that is there is not used.
    """
    file = folder / NAME
    if not file.is_file():
        return None
    manifest = read_manifest(folder)
    if not manifest or manifest.get("weights") != weights:
        say(f"{file} is of other weights; these slices are predicted anew")
        return None
    if changed_since(folder, NAME):
        say(f"{file} is damaged: it is not what {folder / 'files.json'} says; these slices are predicted anew")
        return None
    reader = ProbabilityReader(file)
    held = {name for names in reader.scans.values() for name in names}
    lacking = set(ids) - held
    if lacking:
        say(f"{file} lacks {len(lacking)} of the slices; they are predicted anew")
        return None
    return reader
