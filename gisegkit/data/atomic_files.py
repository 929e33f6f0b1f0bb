"""Files that appear whole or not at all: written beside their place, then renamed; and what killed writes left."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from gisegkit.errors import RunError


def new_beside(path: Path) -> tuple[int, str]:
    """A new file beside ``path``, open for writing: its descriptor and its name, ``.NAME.8 letters``.

    Its permissions are those that the user's umask leaves; ``tempfile`` would make it private.
    """
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
        try:
            return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), str(temporary)
        except FileExistsError:
            continue


def write(path: Path, fill: Callable[[Any], None]) -> None:
    """Let ``fill`` write the file's bytes; the file appears whole or not at all.

    Raises:
        RunError: if the disk is full or the folder cannot be written to; what stood there before is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = new_beside(path)
        try:
            with os.fdopen(handle, "wb") as file:
                _fill(file, fill)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(f"{path} cannot be written: {reason(error)}") from error


def write_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8."""
    write(path, lambda file: file.write(text.encode()))


class _Sink:
    """Hands bytes on and keeps the first error of the disk, in whose place torch raises one that does not name it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def _fill(file: IO[bytes], fill: Callable[[Any], None]) -> None:
    sink = _Sink(file)
    try:
        fill(sink)
    except Exception as error:
        if sink.error is not None:
            raise sink.error from error
        raise
    if sink.error is not None:
        raise sink.error


def remove_leftovers(folder: Path, names: Iterable[str]) -> list[Path]:
    """Remove what killed writes of these files left in a folder; to be called where nobody else writes there.

    Returns:
        What was removed.
    """
    pattern = re.compile(rf"\.({'|'.join(map(re.escape, names))})\.[a-z0-9_]{{8}}")
    found = [file for file in sorted(folder.glob(".*")) if pattern.fullmatch(file.name) and file.is_file()]
    for file in found:
        file.unlink(missing_ok=True)
    return found


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are missing.

    Raises:
        RunError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {reason(error)}; choose another --out") from error


def reason(error: OSError) -> str:
    """What the system says went wrong."""
    return str(error.strerror or error)


def first_line(error: BaseException) -> str:
    """What went wrong, in one line."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
