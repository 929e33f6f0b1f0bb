"""What was seen in the files of a large folder, kept for the next start: files that have not changed are not read."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gisegkit.data.atomic_files import write_text
from gisegkit.data.files import SETTLED, cache_home
from gisegkit.errors import RunError

WORTH = 500
"""Slices from which it is worth keeping: fewer are read in less than half a second."""


class LookedAt:
    """Notes on groups of files, such as an image with its masks, each valid as long as none of its files changes.

    A file is known by its size and by the times of its content and its entry, as in the prepared store. Notes that
    cannot be read or written are done without.

    Args:
        key: gives what settles what the notes say, apart from the files; used only if notes are kept.
        groups: how many there are; no notes are kept of less than ``WORTH``.
    """

    def __init__(self, key: Callable[[], str], groups: int) -> None:
        self._file = cache_home() / "looked-at" / f"{key()}.json" if groups >= WORTH else None
        self._before: dict[str, dict[str, Any]] = {}
        self._now: dict[str, dict[str, Any]] = {}
        self._changed = False
        if self._file is not None:
            with contextlib.suppress(OSError, ValueError, TypeError):
                self._before = dict(json.loads(self._file.read_bytes()))

    def begin(self, files: Sequence[Path | None]) -> dict[str, Any]:
        """What is known of a group, to be filled with what is not. Call it before its files are read.

        Args:
            files: that belong to it, by which it is known; None for one that is not there on purpose.
        """
        if self._file is None:
            return {}
        stamps: list[list[Any] | None] = [None if file is None else [str(file), *_stamp(file)] for file in files]
        name, found = _name(files), None
        with contextlib.suppress(KeyError, TypeError):  # none, or a damaged one
            before = self._before[name]
            found = before if before["files"] == stamps and isinstance(before["seen"], dict) else None
        if found is None:
            settled = all(time.time_ns() - stamp[-1] > SETTLED for stamp in stamps if stamp)
            found = {"files": stamps if settled else "just written", "seen": {}}
            self._changed = True
        self._now[name] = found
        return self.of(files)

    def of(self, files: Sequence[Path | None]) -> dict[str, Any]:
        """As ``begin`` gave it."""
        name = _name(files)
        seen: dict[str, Any] = self._now[name]["seen"] if name in self._now else {}
        return seen

    def save(self) -> None:
        """Keep what is known of the groups of this start."""
        if self._file is not None and (self._changed or len(self._now) != len(self._before)):
            with contextlib.suppress(RunError):
                write_text(self._file, json.dumps(self._now, separators=(",", ":")))


def _name(files: Sequence[Path | None]) -> str:
    """Of a group: one image may be in several, with other masks in each."""
    return "\0".join("" if file is None else str(file) for file in files)


def _stamp(file: Path) -> list[int]:
    """Size, and the times of content and entry; zeros for a file that cannot be seen."""
    try:
        status = os.stat(file)
    except OSError:
        return [0, 0, 0]
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
