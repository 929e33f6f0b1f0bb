"""What a decoder in C writes to the process's standard error while it continues with damaged data."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DAMAGE = (b"Corrupt JPEG data", b"Premature end of JPEG", b"Invalid SOS parameters", b"Unsupported marker")
"""How libjpeg's warnings begin; it fills what it cannot decode with gray, and only these lines tell."""

_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not begin with its standard error turned away
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def listen(decode: Callable[[], T]) -> tuple[T, str]:
    """What a decoder gives, and the first line of damage that it wrote; other lines go where they were to go."""
    with _lock, tempfile.TemporaryFile() as heard:
        try:
            kept = os.dup(2)
        except OSError:  # the process has no standard error
            return decode(), ""
        try:
            os.dup2(heard.fileno(), 2)
            try:
                made = decode()
            finally:
                os.dup2(kept, 2)
        finally:
            os.close(kept)
        heard.seek(0)
        damage: list[bytes] = []
        others: list[bytes] = []
        for line in heard.read().splitlines(keepends=True):
            (damage if line.startswith(DAMAGE) else others).append(line)
        if others:
            os.write(2, b"".join(others))
    return made, damage[0].decode("latin-1").strip() if damage else ""
