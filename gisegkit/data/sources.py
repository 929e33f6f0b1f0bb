"""What prepared slices are made of: files, known by their times and digests, and the code that reads them."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import cv2

READERS = ("files", "geometry", "rle", "shards", "sources", "store")
"""Modules of gisegkit.data whose code settles what is stored."""


def digest(text: str) -> str:
    """24 hexadecimal digits that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def stamp(file: str) -> list[int]:
    """What changes when a file does: size, and the times of content and entry in nanoseconds; empty without a file."""
    try:
        status = os.stat(file)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def stamped(file: str) -> list[Any]:
    """The file, its stamp and the digest of its content; zeros for one that is not there."""
    try:
        content = Path(file).read_bytes()
    except OSError:
        return [file, 0, 0, 0, ""]
    return [file, *stamp(file), hashlib.blake2b(content, digest_size=12).hexdigest()]


@functools.cache
def code_of(dataset: type) -> str:
    """A digest of the code that makes what is stored: the dataset's classes, and gisegkit's readers."""
    modules = {kind.__module__ for kind in dataset.__mro__ if kind is not object}
    modules |= {f"gisegkit.data.{name}" for name in READERS}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sorted(modules)]
    return digest("\0".join([cv2.__version__, *(Path(file).read_text("utf-8") for file in files if file)]))
