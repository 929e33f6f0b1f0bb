"""The image files of a folder by name; what is passed over is counted by kind, and what may not be read is told."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from gisegkit.data.files import no_data
from gisegkit.data.images.header import ENDINGS, NOT_READ
from gisegkit.data.images.look import kind_of
from gisegkit.errors import DataError, Finding, listed

READ = "PNG, JPEG, TIFF, BMP, WebP or GIF"


def plain(name: str) -> str:
    """A name in the composed form of Unicode (NFC): file systems give ``ü`` as one letter or as two."""
    return unicodedata.normalize("NFC", name)


def ending_of(name: str) -> str:
    """What a file's name ends with, in small letters: ``.png``, ``.nii.gz``; empty for none."""
    lower = name.lower()
    return next((end for end in NOT_READ if lower.endswith(end)), os.path.splitext(lower)[1])


class FolderFiles:
    """Lists folders, and keeps what it finds besides images.

    Args:
        root: the folder of the data; links in it may not lead out of it.
        subfolders: whether the folders in a folder are cases; else they are passed over.
    """

    def __init__(self, root: Path, *, subfolders: bool = False) -> None:
        self.root = root
        self.subfolders = subfolders
        self.findings: list[Finding] = []
        self._taken: set[Path] = set()
        self._unsuffixed: dict[tuple[Path, str], list[Path]] = {}
        self._real = root.resolve()

    def images(self, folder: Path, *, put: str, take: Callable[[str], str | None]) -> dict[str, Path]:
        """The image files of a folder by name.

        Args:
            put: what to do if the folder is not there.
            take: the name that pairs a file with its partner, of its name without ending; None passes it over.

        Raises:
            DataError: if the folder is not there or leads out of the root, holds no image, or two files have one name.
        """
        if not folder.is_dir():
            beside = (
                [path.name for path in sorted(folder.parent.iterdir()) if path.is_dir()]
                if folder.parent.is_dir()
                else []
            )
            hint = f"beside it are: {listed(beside)}" if beside else ""
            raise no_data(folder, "there is no such folder", put=put, hint=hint)
        self.refuse_escape(folder)
        found: dict[str, Path] = {}
        others: dict[str, list[str]] = {}
        lonely: dict[tuple[Path, str], list[Path]] = {}
        for path, prefix in self._entries(folder, others):
            name = take(plain(path.stem))
            if name is None:
                lonely.setdefault((folder, f"{ending_of(path.name)} without the suffix"), []).append(path)
            elif (key := prefix + name) in found:
                raise DataError(f"{found[key]} and {path} have the same name; names are ids, rename or remove one")
            else:
                found[key] = path
        if not found:
            kinds = sorted([*others, *(kind for _, kind in lonely)])
            hint = f"found: {', '.join(kinds)}" if kinds else ""
            if "folder" in others:
                put = f'if the folders in it are cases, set dataset.subfolders = "cases"; else {put}'
            if lonely:
                names = [path.name for paths in lonely.values() for path in paths]
                hint += f" ({listed(names, shown=3)})"
                put = "correct dataset.image_suffix or dataset.mask_suffix; capital letters count"
            known = sorted({NOT_READ[kind] for kind in others if kind in NOT_READ})
            if known:
                put = f"{' and '.join(known)} files are not supported yet: export each slice to PNG or TIFF of 16 bits"
                put += " (e.g. with SimpleITK or 3D Slicer), and put these files here"
            raise no_data(folder, f"holds no {READ} files", put=put, hint=hint)
        self._count(folder, others)
        self._count_unsuffixed(lonely, found.values())
        return found

    def passed_over(self) -> list[str]:
        """What was found besides images so far, hidden files apart: the partner of a lonely file may be among it."""
        told = [(one.place, one.what, one.kind.removeprefix("passed over: ")) for one in self.findings]
        return [f"{place}: {what} ({kind})" for place, what, kind in told if kind != "hidden"]

    def refuse_escape(self, path: Path) -> None:
        """Check that a path, through whatever links, is in the root.

        Raises:
            DataError: if it is not.
        """
        real = path.resolve()
        if real != self._real and self._real not in real.parents:
            raise DataError(
                f"{path}: leads out of the data's folder {self.root}, to {real}; copy it, or set dataset.root to a "
                "folder that holds both"
            )

    def _entries(self, folder: Path, others: dict[str, list[str]], prefix: str = "") -> list[tuple[Path, str]]:
        """The files with an image's ending and what comes before their names; counts others, tells what is refused."""
        kept: list[tuple[Path, str]] = []
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = folder / entry.name
            if entry.name.startswith("."):
                others.setdefault("hidden", []).append(entry.name)
                continue
            if entry.is_symlink():
                try:
                    self.refuse_escape(path)
                except DataError as error:
                    what, _, remedy = str(error).removeprefix(f"{path}: ").partition("; ")
                    self.findings.append(Finding("link out of the data", "error", str(path), what, remedy))
                    continue
            if entry.is_dir():
                if self.subfolders and not prefix:
                    kept += self._entries(path, others, f"{plain(entry.name)}_")
                else:
                    others.setdefault("folder", []).append(entry.name)
            elif ending_of(entry.name) not in ENDINGS:
                others.setdefault(ending_of(entry.name) or "no ending", []).append(entry.name)
            elif not entry.is_file():
                self._tell_irregular(path)
            else:
                kept.append((path, prefix))
        return kept

    def _tell_irregular(self, path: Path) -> None:
        try:
            mode = os.stat(path).st_mode
            what = f"is {kind_of(mode)}, not a file" if not stat.S_ISREG(mode) else "cannot be read"
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
        self.findings.append(Finding("no regular file", "error", str(path), what, "remove it, or copy the file itself"))

    def _count_unsuffixed(self, lonely: dict[tuple[Path, str], list[Path]], taken: Iterable[Path]) -> None:
        """Files that a suffix passes over, but for those that another listing of the same folder took."""
        self._unsuffixed |= lonely
        self._taken.update(taken)
        told = {(str(folder), f"passed over: {kind}") for folder, kind in self._unsuffixed}
        self.findings[:] = [one for one in self.findings if (one.place, one.kind) not in told]
        for (folder, kind), paths in sorted(self._unsuffixed.items()):
            if names := [path.name for path in paths if path not in self._taken]:
                self._count(folder, {kind: names})

    def _count(self, folder: Path, others: dict[str, list[str]]) -> None:
        for kind, names in sorted(others.items()):
            images = kind in NOT_READ or "suffix" in kind
            remedy = f"export {NOT_READ[kind]} to PNG or TIFF if it belongs to the data" if kind in NOT_READ else ""
            if kind == "folder":
                remedy = 'dataset.subfolders = "cases" reads them as cases'
            what = f"{len(names)} passed over: {listed(names, shown=3)}"
            self.findings.append(
                Finding(f"passed over: {kind}", "warning" if images else "note", str(folder), what, remedy)
            )
