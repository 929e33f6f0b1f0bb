"""What prepared slices are made of: files, known by their times and digests, and the code that reads them."""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import re
import sys
import threading
from collections.abc import Iterator
from hashlib import blake2b
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from gisegkit.data.files import read_bytes
from gisegkit.errors import DataError

if TYPE_CHECKING:
    from gisegkit.types import Dataset

Note = list[Any]
"""A file's path, its stamp (three numbers) and the digest of its content."""

Known = dict[str, Note]
"""Notes by path."""

READERS = (
    "doctor.facts",
    "files",
    "geometry",
    "images.complaints",
    "images.header",
    "images.look",
    "images.pillow",
    "images.png",
    "images.read",
    "images.tiff",
    "masks",
    "planes",
    "reading",
    "rle",
    "store.layout",
    "store.shards",
    "store.sources",
    "store.store",
)
"""Modules of gisegkit.data whose code decides what is stored."""

READS_DOCSTRINGS = re.compile(rb"__do[c]__|getdo[c]")
"""Is found in code to which its docstrings may matter; spelled so that this module is not such code."""


def digest(content: str | bytes) -> str:
    """24 hexadecimal digits that identify a text or a file's content."""
    return blake2b(content.encode() if isinstance(content, str) else content, digest_size=12).hexdigest()


# --- files ---


def stamp(file: str) -> list[int]:
    """What changes when a file does: size, and the times of content and entry in nanoseconds; empty without a file."""
    try:
        status = os.stat(file)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def stamped(file: str) -> list[Any]:
    """A file's stamp and the digest of its content; zeros for one that is not there.

    Raises:
        DataError: if it is no file, or cannot be read.
    """
    # Taken first: a file that is written while it is read differs from its stamp, and is looked at again next time.
    before = stamp(file) or [0, 0, 0]
    try:
        return [*before, digest(read_bytes(file))]
    except FileNotFoundError:
        return [0, 0, 0, ""]
    except OSError as error:
        if Path(file).is_dir():
            raise DataError(f"{file}: is a folder; sources(row) of a dataset must name the files in it") from error
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


_LOCKS = [threading.Lock() for _ in range(64)]
"""Of files by their hash: two threads that want the same file look at it once, others do not wait for each other."""


class Sources:
    """The files that a dataset's slices are made of, by their paths in its folder: it may be named in several ways.

    Args:
        dataset: must have ``root`` and ``sources``, see Dataset.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        given = Path(dataset.root)  # type: ignore[attr-defined]
        self.root = str(given.resolve())
        self._given, self._resolved = f"{given}{os.sep}", f"{self.root}{os.sep}"

    def of(self, row: int) -> tuple[list[str], str]:
        """The files of a row, relative to the root, or absolute where they lie elsewhere, and the text besides."""
        files, text = self.dataset.sources(row)  # type: ignore[attr-defined]
        return [self._inside(str(file)) for file in files], text

    def note(self, file: str, known: Known) -> Note:
        """What there is to know of a file; found out once for all slices that are made of it."""
        with _LOCKS[hash(file) % len(_LOCKS)]:
            if file not in known:
                known[file] = [file, *stamped(self._path(file))]
            return known[file]

    def now(self, notes: list[Note], known: Known) -> list[Note] | None:
        """The notes as they would be written now; None if a file is not what it was. Unchanged ones are not read.

        Raises:
            DataError: as ``stamped``.
        """
        found = list(notes)
        for place, note in enumerate(notes):
            if stamp(self._path(note[0])) != note[1:4]:
                found[place] = self.note(note[0], known)
                if found[place][4] != note[4]:
                    return None
        return found

    def _path(self, file: str) -> str:
        return file if os.path.isabs(file) else self._resolved + file  # os.path.join takes longer, file by file

    def _inside(self, file: str) -> str:
        if file.startswith(self._given):
            return file[len(self._given) :].lstrip(os.sep)
        return os.path.abspath(file).removeprefix(self._resolved)


# --- code ---


@functools.cache
def code_of(dataset: type) -> str:
    """A digest of the code that makes what is stored; see ``meaning`` for what counts as its code.

    That is the modules of the dataset's classes, those that its own module imports from the same package, directly or
    through others, and gisegkit's readers. What else happens to be loaded differs from command to command.
    """
    modules = {kind.__module__ for kind in dataset.__mro__ if kind is not object}
    modules |= {f"gisegkit.data.{name}" for name in READERS}
    code = {name: _code(name) for name in modules}
    package = dataset.__module__.partition(".")[0]
    waiting = [] if package == "gisegkit" else [dataset.__module__]
    done: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in done or name.partition(".")[0] != package:
            continue
        done.add(name)
        code[name] = _code(name)
        waiting += _imports(name, code[name])
    return digest(b"\0".join([cv2.__version__.encode(), *(meaning(code[name]) for name in sorted(code))]))


@functools.lru_cache(maxsize=256)  # most of it is gisegkit's own, which every type of dataset is read with
def meaning(code: bytes) -> bytes:
    """What a module does, without its comments, docstrings and formatting.

    Code that is not Python source (a compiled module) is taken as it is. So does code that reads docstrings.
    """
    if READS_DOCSTRINGS.search(code):
        return code
    try:
        tree = ast.parse(code)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
        return ast.dump(tree).encode(errors="surrogatepass")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code


def _is_text(line: ast.stmt) -> bool:
    """Whether a statement is nothing but a text, as the docstrings of modules, functions and attributes are."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _code(name: str) -> bytes:
    """The content of a module's file, compiled ones included; nothing if it has none, as in a notebook."""
    file = _file(name)
    with contextlib.suppress(OSError):
        return Path(file).read_bytes() if file else b""
    return b""


def _file(name: str) -> str | None:
    """The file of a module, without importing it; None if there is no such module."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None)
    package, *rest = name.split(".")
    folders = [os.path.join(folder, *rest[:-1]) for folder in getattr(sys.modules.get(package), "__path__", ())]
    spec = PathFinder.find_spec(name, folders)
    return None if spec is None else spec.origin


def _imports(name: str, code: bytes) -> Iterator[str]:
    """What a module names in its imports: modules, and what they hold."""
    file = _file(name) or ""
    package = name if Path(file).stem == "__init__" else name.rpartition(".")[0]
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # compiled, or nested too deep
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # beyond the package
                base = resolve_name("." * node.level + (node.module or ""), package)
                yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
