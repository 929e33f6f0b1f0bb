"""A look at every image file of a folder: its header against its name, its pages and its transparency."""

from __future__ import annotations

import contextlib
from dataclasses import astuple
from pathlib import Path

import pandas as pd

from gisegkit.components.datasets.folder_files import ending_of
from gisegkit.components.datasets.pairing import Item
from gisegkit.data.findings import FileError, finding_of
from gisegkit.data.images.header import ENDINGS, Header
from gisegkit.data.images.look import read_header
from gisegkit.data.images.read import Alpha, read_image
from gisegkit.data.looked_at import LookedAt
from gisegkit.errors import DataError, Finding, count

Rows = tuple[pd.DataFrame, list[Item], list[int | None], list[tuple[int, int]]]


class Looks:
    """Looks at files, and adds what it finds to a list.

    Args:
        findings: the list.
        pages, alpha: as of the dataset ``folder``.
        before: what was seen at another start, of files in which nothing was found.
    """

    def __init__(self, findings: list[Finding], *, pages: str, alpha: Alpha, before: LookedAt) -> None:
        self._findings = findings
        self._before = before
        self._slices = pages == "slices"
        self._alpha = alpha
        self._opaque: list[Path] = []
        self._dropped: list[Path] = []

    def rows(self, arranged: pd.DataFrame, items: dict[str, Item]) -> Rows:
        """The table with a row a slice, and of each its item, its page (None for a file's only one) and its size.

        Raises:
            DataError: if a scan has two files of several pages.
        """
        rows: list[tuple[str, str, int, str]] = []
        kept: list[Item] = []
        pages: list[int | None] = []
        sizes: list[tuple[int, int]] = []
        files = arranged["scan"].value_counts()
        for name, scan, position, case in arranged.itertuples(index=False, name=None):
            item = items[name]
            header = self._header(name, item)
            if header is None:
                continue
            if header.pages == 1:
                rows.append((name, scan, position, case))
            elif files[scan] > 1:
                raise DataError(
                    f"{item.image}: has {header.pages} pages, and its scan {scan} has other files too; let "
                    "dataset.names, pattern or table give each such file a scan of its own"
                )
            else:
                digits = max(3, len(str(header.pages)))
                rows += [(f"{name}_{page + 1:0{digits}}", scan, page, case) for page in range(header.pages)]
            pages += [None] if header.pages == 1 else list(range(header.pages))
            kept += [item] * header.pages
            sizes += [header.size] * header.pages
        return pd.DataFrame(rows, columns=["id", "scan", "position", "case"]), kept, pages, sizes

    def _header(self, name: str, item: Item) -> Header | None:
        """What an image file says of itself; None, and a finding, if it cannot be used."""
        path = item.image
        note = self._before.begin((path, *item.masks))
        if "header" in note:
            return Header(*note["header"])
        told = len(self._findings)
        try:
            header = read_header(path)
            if header.pages > 1 and not (self._slices and header.format == "TIFF"):
                read_image(path)  # refuses it
            if self._slices:
                for mask in item.masks:
                    _refuse_other_pages(mask, path, header)
            if header.alpha and self._alpha == "refuse":
                read_image(path, page=0 if header.pages > 1 else None)
                self._opaque.append(path)
            elif header.alpha and self._alpha == "drop":
                self._dropped.append(path)
        except DataError as error:
            self._findings.append(finding_of(error, path, ids=(name,)))
            return None
        self._compare_ending(path, name, header.format)
        for mask in item.masks:
            if mask is not None:
                with contextlib.suppress(DataError):  # told by whoever reads the mask
                    self._compare_ending(mask, name, read_header(mask).format)
        if len(self._findings) == told and not header.alpha:
            note["header"] = astuple(header)
        return header

    def _compare_ending(self, path: Path, name: str, form: str) -> None:
        promised = ENDINGS.get(ending_of(path.name), "")
        if promised != form:
            what = f"is a {form} file, whatever its name ends with"
            remedy = "it is read as what it is; rename it"
            self._findings.append(Finding("content of another kind", "warning", str(path), what, remedy, (name,)))

    def finish(self) -> None:
        """Add what is told once for all files."""
        for paths, what in ((self._opaque, "opaque everywhere, which is"), (self._dropped, "that is")):
            if paths:
                first = f"{count(len(paths), 'image')} with an alpha channel {what} left out"
                self._findings.append(Finding("alpha left out", "note", str(paths[0]), first))


def _refuse_other_pages(mask: Path | None, image: Path, header: Header) -> None:
    if mask is None or (found := read_header(mask).pages) == header.pages:
        return
    remedy = "give both the same slices"
    if header.pages == 1 < header.channels == found:  # tifffile and ImageJ take 3 or 4 slices for channels
        remedy = f'its {found} channels may be slices: save it as such (tifffile: photometric="minisblack")'
    what = f"has {count(header.pages, 'page')}, and its mask {mask} {found}"
    raise FileError("pages differ", f"{image}: {what}; {remedy}")
