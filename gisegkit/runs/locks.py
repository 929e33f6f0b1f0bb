"""One process at a time writes into a run folder; the system lets go of the lock when its process dies."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from gisegkit.data.atomic_files import make_folder, reason
from gisegkit.errors import RunError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""The file in a run folder; there only while a process writes into the folder, or where one was killed."""

TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

_held: dict[Path, int] = {}
"""The descriptors of the locks that this process holds, by folder."""


@contextlib.contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from writing into a folder, which is made where it is missing.

    A process may lock a folder again that it has locked. A folder that was made and stays empty goes away again.

    Args:
        say: told where the file system knows no locks; the work then goes on without.

    Raises:
        RunError: if another process holds the lock (says which), or the folder cannot be made or written to.
    """
    place = folder.resolve()
    if place in _held:
        yield
        return
    made = _make(folder)
    handle = None
    try:
        handle = _take(folder, say)
        if handle is not None:
            _held[place] = handle
        yield
    finally:
        _held.pop(place, None)
        if handle is not None:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()  # while it is still locked: whoever waits sees that the file is gone
            os.close(handle)
        for path in made:
            with contextlib.suppress(OSError):  # it holds something now
                path.rmdir()


def is_locked(folder: Path) -> bool:
    """Whether another process writes into the folder just now."""
    if folder.resolve() in _held or sys.platform == "win32":
        return False
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in TAKEN
    finally:
        os.close(handle)
    return False


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns those that were missing, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    make_folder(folder)
    return missing


def _take(folder: Path, say: Callable[[str], None]) -> int | None:
    """The descriptor of the locked file; None if there are no locks."""
    if sys.platform == "win32":
        return None
    while True:
        try:
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {reason(error)}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(handle)
            os.close(handle)
            if error.errno in TAKEN:
                raise RunError(
                    f"{folder} is in use by another giseg process{holder}; wait for it, stop it, or choose another "
                    "--out"
                ) from error
            say(f"warning: {folder} cannot be locked ({reason(error)}); take care that no other giseg writes into it")
            return None
        try:
            current = os.stat(folder / LOCK).st_ino == os.fstat(handle).st_ino
        except FileNotFoundError:
            current = False
        if current:
            break
        os.close(handle)  # its last holder removed it between the two calls
    os.ftruncate(handle, 0)
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().isoformat(" ", "seconds")}
    with contextlib.suppress(OSError):  # a full disk; the lock holds all the same
        os.write(handle, json.dumps(facts).encode())
    return handle


def _holder(handle: int) -> str:
    """Who holds a lock, in words."""
    try:
        facts = json.loads(os.pread(handle, 1000, 0))
        return f" (process {facts['pid']} on {facts['host']}, since {facts['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _let_go_in_child() -> None:
    """A forked worker must not keep the lock when its parent is killed."""
    for handle in _held.values():
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_let_go_in_child)
