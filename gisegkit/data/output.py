"""What a writer of predictions receives, and the only way in which it makes files.

A file is made under another name, is renamed when it is whole, and is listed in ``files.json``, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal, Protocol

from gisegkit.data.atomic_files import reason, write_text
from gisegkit.errors import ComponentError, RunError
from gisegkit.types import BoolArray, FloatArray

MANIFEST = "files.json"
"""The list of the files that an Output made: name, size in bytes, digest (BLAKE2b of 32 bytes)."""

FORMAT = 1
"""The version of ``files.json``."""

WANTS = ("masks", "probabilities")
"""What a writer may want."""

SYNCING = 16
"""Threads that wait for the disk: many small files reach it together 30 times as fast as one after another."""

PARTIAL = re.compile(r"\.partial-[0-9a-f]{8}-.+")
"""The names of files that are not whole yet. The end of the name stays, as some libraries choose a format by it."""

UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]|^\.|[. ]$')


@dataclass(frozen=True)
class PredictionFacts:
    """What a writer is told before the first slice.

    Attributes:
        name: of the recipe; run: of the run folder.
        classes: names of the K classes, in the order of the masks' last axis.
        exclusive: whether the network puts a pixel into one class at most.
        slices: how many will come.
        order: (id, class) in the order that the data set's owner asks a submission for; None if nobody asks.
        left_out: ids of slices that are not predicted because they are bad (``on_bad``) or on an exclusion list.
        demo: whether these are predictions of a demo run.
    """

    name: str
    run: str
    classes: tuple[str, ...]
    exclusive: bool
    slices: int
    order: Sequence[tuple[str, str]] | None = None
    demo: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class SliceFacts:
    """What a writer is told of a slice.

    Attributes:
        id, scan, position, case, height, width: as in the dataset's table.
        index: of the slice among those of its scan that are predicted, from 0.
        depth: how many slices of its scan are predicted; they come one after another, in the order of their positions.
        spacing: mm by the columns of ``gisegkit.types.SPACING`` that the table has.
    """

    id: str
    scan: str
    position: int
    case: str
    height: int
    width: int
    index: int
    depth: int
    spacing: Mapping[str, float] = field(default_factory=dict)


class Writer(Protocol):
    """What a ``[[writer]]`` component returns: it receives predictions slice by slice, scan by scan.

    Attributes:
        wants: ``"masks"``, or ``"probabilities"`` where it needs these too; without need they are not kept.
    """

    wants: Literal["masks", "probabilities"]

    def begin(self, facts: PredictionFacts, out: Output) -> None:
        """Called before the first slice of a prediction, anew for each. Every file is made with ``out.path``."""
        ...

    def write(self, facts: SliceFacts, masks: BoolArray, probabilities: FloatArray | None) -> None:
        """Called once a slice: masks ``[H, W, K]`` bool, and probabilities ``[H, W, K]`` float32 if it wants them."""
        ...

    def finish(self) -> str:
        """Called after the last slice; returns one line that says what was written."""
        ...


def file_name(text: str) -> str:
    """A text as a file's name: characters that some file system refuses become ``%XX``, as in a web address.

    Raises:
        ComponentError: if the text is empty or too long.
    """
    name = UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)
    if not name or len(name.encode()) > 200:
        raise ComponentError(f"{text!r} cannot name a file: it has {len(name.encode())} bytes, valid are 1 to 200")
    return name


def check_name(name: str) -> None:
    """Check that a file or folder of a writer may be called so.

    Raises:
        ComponentError: if the name leads out of the folder of the predictions, or is hidden, or that of the list.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or any(part.startswith(".") for part in path.parts) or name == MANIFEST:
        raise ComponentError(f"{name!r} cannot be written: a name is inside the folder, and not hidden")


class Output:
    """The files that one command makes in a folder; a context manager that removes what did not become whole.

    Args:
        folder: made when the first file is.
        elsewhere: other places of some files, by name; they are not listed.

    Attributes:
        names: of all files that were begun.
        files: the files that are whole, by name.
    """

    def __init__(self, folder: Path, *, elsewhere: Mapping[str, Path] | None = None) -> None:
        self.folder = folder
        self.elsewhere = dict(elsewhere or {})
        self.names: set[str] = set()
        self.files: dict[str, Path] = {}
        self._stacks: list[ExitStack] = []

    def place(self, name: str) -> Path:
        """Where a file will be."""
        return self.elsewhere.get(name, self.folder / name)

    @contextmanager
    def path(self, name: str) -> Iterator[Path]:
        """A new, empty file that takes its name and place at the end, and goes away on any error.

        Args:
            name: the file's, with ``/`` between the folders above it: ``masks/liver/1.png``.

        Raises:
            ComponentError: if the name leads out of the folder, is hidden, or was given before.
            RunError: if the file cannot be written.
        """
        self._reserve(name)
        target = self.place(name)
        partial = target.with_name(f".partial-{secrets.token_hex(4)}-{target.name}")
        with _told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            with _told(target):
                yield partial
                os.replace(partial, target)
            self.files[name] = target
        finally:
            partial.unlink(missing_ok=True)

    def stack(self) -> ExitStack:
        """Contexts that stay open from one call of a writer to the next, such as ``path``; the writer closes the stack.

        If the prediction fails, the contexts are left with that error, so that no file takes its place.
        """
        self._stacks.append(ExitStack())
        return self._stacks[-1]

    def _reserve(self, name: str) -> None:
        check_name(name)
        if name in self.names:
            raise ComponentError(
                f"{self.place(name)} would be written twice; two slices, scans or writers share a name"
            )
        self.names.add(name)

    def finish(self, **facts: Any) -> list[str]:
        """Write ``files.json``; remove files that it listed before and that were not made again.

        Args:
            facts: what it holds besides.

        Returns:
            The names of the removed files.
        """
        made = {name: path for name, path in self.files.items() if name not in self.elsewhere}
        before = {entry["name"] for entry in read_manifest(self.folder).get("files", [])}
        stale = sorted(name for name in before - made.keys() if _is_inside(name))
        for name in stale:
            (self.folder / name).unlink(missing_ok=True)
        if made:
            with ThreadPoolExecutor(SYNCING) as pool:
                files = [
                    {"name": name, **found} for name, found in zip(made, pool.map(_kept, made.values()), strict=True)
                ]
            content = {"format": FORMAT, **facts, "files": files}
            write_text(self.folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return stale

    def __enter__(self) -> Output:
        for file in self.folder.rglob(".partial-*") if self.folder.is_dir() else ():
            if PARTIAL.fullmatch(file.name):  # a killed process left it; the folder's lock is held
                file.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = error or RunError("the writer has left a file open")
        for stack in reversed(self._stacks):
            with suppress(BaseException):  # the first error is the one to tell
                stack.__exit__(type(left), left, trace)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What ``files.json`` of a folder holds; empty if it is missing or damaged, as it only says what can be seen."""
    with suppress(OSError, ValueError):
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("format") == FORMAT:
            return content
    return {}


def changed_since(folder: Path, name: str) -> bool:
    """Whether a file is missing, or not what ``files.json`` says of it: another size or digest, or no line at all."""
    noted = next((entry for entry in read_manifest(folder).get("files", []) if entry.get("name") == name), None)
    path = folder / name
    if noted is None or not path.is_file() or path.stat().st_size != noted.get("size"):
        return True
    return _digest(path) != str(noted.get("digest"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def _is_inside(name: str) -> bool:
    """Whether a name that a file tells leads nowhere else; it may have been edited."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _kept(path: Path) -> dict[str, Any]:
    """Size and digest of a file, once it is on the disk."""
    with _told(path), path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
        return {"size": file.tell(), "digest": digest}


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Errors of the disk in one line that names the file."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{target} cannot be written: {reason(error)}") from error
