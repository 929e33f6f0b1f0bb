"""Files: their content, kept for a moment; headers of PNG files; what to say when a data folder is not there."""

from __future__ import annotations

import os
import stat
import struct
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from gisegkit.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"


MAX_FILE = 2**20
MAX_KEPT = 64 * 2**20
"""Bytes of a file that is kept at most, and of all files together."""


Stamp = tuple[int, int, int]
"""Size, and the times of content and entry in nanoseconds."""


SETTLED = 20_000_000
"""Nanoseconds after which a change of a file has another time; clocks of file systems tick every 1 to 10 ms."""


class _RecentFiles:
    """The content of files that were read last, so that header, digest and pixels need one opening of a file."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew; a forked process must, since another thread may have held the lock when it was forked."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Stamp, bytes]] = OrderedDict()
        self._size = 0

    def read(self, path: str) -> bytes:
        status = os.stat(path)
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._lock:
            found = self._kept.get(path)
        if found is not None and found[0] == stamp:
            return found[1]
        content = Path(path).read_bytes()
        # One that was written a moment ago may change again without another time; see SETTLED.
        if len(content) == stamp[0] <= MAX_FILE and time.time_ns() - status.st_ctime_ns > SETTLED:
            self._keep(path, stamp, content)
        return content

    def _keep(self, path: str, stamp: Stamp, content: bytes) -> None:
        with self._lock:
            _, old = self._kept.pop(path, (stamp, b""))
            self._kept[path] = (stamp, content)
            self._size += len(content) - len(old)
            while self._size > MAX_KEPT:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._size -= len(oldest)


_recent = _RecentFiles()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_recent.forget)


def read_bytes(path: Path | str) -> bytes:
    """A file's content; one that was read a moment ago and has not changed since is not opened again.

    Raises:
        OSError: if it cannot be read.
    """
    return _recent.read(os.fspath(path))


class PNGHeader(NamedTuple):
    """What a PNG file says of itself: height and width in pixels, bits a channel, whether it is grey without alpha."""

    height: int
    width: int
    bits: int
    grey: bool


def png_header(path: Path) -> PNGHeader:
    """The header of a PNG file, from its first 26 bytes.

    Raises:
        DataError: if the file cannot be opened, is no regular file, or is no PNG.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise DataError(f"{path}: is no regular file; remove it, or copy the file itself")
        if status.st_size <= MAX_FILE:
            start = read_bytes(path)[:26]
        else:
            with path.open("rb") as file:
                start = file.read(26)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if len(start) < 26 or not start.startswith(PNG) or start[12:16] != b"IHDR":
        raise DataError(f"{path}: is not a PNG file, or is cut off; copy it again from its source")
    width, height, bits, color = struct.unpack(">IIBB", start[16:26])
    return PNGHeader(height, width, bits, grey=color == 0)


def cache_home() -> Path:
    """Where gisegkit keeps what it makes of data: ``$GISEG_CACHE``, or else ``~/.cache/gisegkit``."""
    return Path(os.environ.get("GISEG_CACHE") or "~/.cache/gisegkit").expanduser()


def no_data(root: Path, problem: str, *, put: str, hint: str = "") -> DataError:
    """The error for data that are not where the recipe says, with the three ways out.

    Args:
        root: the folder that was looked at.
        problem: what is wrong with it.
        put: the first way out: where to put the data, or how to get them.
        hint: what was found instead, where it helps.
    """
    lines = [
        f"{root}: {problem}" + (f"; {hint}" if hint else ""),
        f"  1. {put}",
        "  2. the data are elsewhere: --set dataset.root=FOLDER",
        "  3. no data yet: --demo runs the same recipe on synthetic scans",
    ]
    return DataError("\n".join(lines))
